"""Question: one request to a backend, which is answered, refused or not answered within seconds."""

from __future__ import annotations

import ssl
import urllib.request
from base64 import b64encode
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from time import time
from typing import NamedTuple
from urllib.error import HTTPError, URLError

#: Seconds for each step of an answer.
SECONDS = 5.0
_MOST_BYTES = 64 * 1024


class Answer(NamedTuple):
    """What a backend said.

    Attributes:
        status: The HTTP status; 0 if there was no answer.
        text: The beginning of the body, or why there was no answer.
        skew: The backend's clock minus this one's, in seconds; None if it says no time.
    """

    status: int
    text: str
    skew: float | None = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: credentials go to the address that the environment names, and nowhere else."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def ask(
    url: str,
    *,
    authorization: str = "",
    body: bytes | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send a request and return its answer; the environment's proxy is used.

    Args:
        url: An address with ``http`` or ``https``.
        authorization: The value of that header, or "".
        body: JSON to post; None for a GET.
        context: The certificate authorities; None for those of the system.
    """
    headers = {"User-Agent": "fedtrack-doctor"} | ({"Content-Type": "application/json"} if body is not None else {})
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310  # its scheme was checked
    if authorization:
        request.add_unredirected_header("Authorization", authorization)
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return Answer(response.status, _text(response.read(_MOST_BYTES)), skew(response.headers.get("date")))
    except HTTPError as error:
        with error:
            return Answer(error.code, _text(error.read(_MOST_BYTES)), skew(error.headers.get("date")))
    except URLError as error:
        return Answer(0, str(error.reason))
    except (OSError, HTTPException, ValueError) as error:
        return Answer(0, str(error) or type(error).__name__)


def basic(user: str, password: str) -> str:
    """Return the header of a user and a password."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def skew(date: str | None) -> float | None:
    """Return the clock in a Date header minus this one, in seconds; None without one."""
    try:
        return parsedate_to_datetime(date).timestamp() - time() if date else None
    except (ValueError, TypeError, OverflowError):
        return None
