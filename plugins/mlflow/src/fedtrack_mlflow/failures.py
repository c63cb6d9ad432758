"""Failures: a failed call of MLflow becomes ``Transient`` or ``Permanent`` for delivery."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from fedtrack.errors import ConfigError, DamagedError, Permanent, ReceiverError, Transient

#: MLflow's codes for "this request is wrong". All others (a lock, a quota, an expired token, a proxy's 404, a bug)
#: may be temporary, and no record is given up for them.
_REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST", "ALREADY_EXISTS", "NOT_IMPLEMENTED"}

_REFUSING_STATUSES = {400, 405, 410, 411, 413, 414, 415, 422, 431, 501}

#: Errors of a path that the file system cannot hold, for example because its folder is already a file.
_REFUSING_ERRNOS = {errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL}

_STATUS = re.compile(r"failed with error code (\d{3})")

#: MLflow's message for a run that somebody deleted; the next attempt creates a new run.
_DELETED = re.compile(r"must be in (the )?'?active'?", re.IGNORECASE)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn mlflow's exceptions in the block into ``Transient`` or ``Permanent``; ``action`` begins their message.

    Other exceptions pass unchanged: delivery tries again a few times before it gives up.
    """
    try:
        yield
    except (ReceiverError, ConfigError):
        raise
    except Exception as error:
        raise (failure(error, action) or error) from error


def failure(error: Exception, action: str) -> ReceiverError | None:
    """Return ``error`` as an exception for delivery, or None if its meaning is not known."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import OperationalError

    text = f"{action}: {_first_line(error)}"
    if isinstance(error, MlflowException):
        return Permanent(text) if _refused(error) else Transient(text)
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return Permanent(text) if error.response.status_code in _REFUSING_STATUSES else Transient(text)
    if isinstance(error, DamagedError) or (isinstance(error, OSError) and error.errno in _REFUSING_ERRNOS):
        return Permanent(text)
    if isinstance(error, requests.RequestException | OperationalError | OSError):
        return Transient(text)
    return None


def _refused(error: Exception) -> bool:
    if _DELETED.search(str(error)):
        return False
    if status := _STATUS.search(str(error)):
        return int(status[1]) in _REFUSING_STATUSES
    return getattr(error, "error_code", "") in _REFUSALS


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:500]
