"""Room: a run waits for a full disk, and does not end because of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from fedtrack.files import NoRoomError

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
#: Seconds between two messages about one wait.
_AGAIN_SECONDS = 60.0

_T = TypeVar("_T")


def when_there_is_room(write: Callable[[], _T]) -> _T:
    """Return the result of ``write``, which is called again as long as the disk is full.

    Messages tell when the wait begins, that it goes on, and when it is over. Ctrl-C ends the wait, and so does the end
    of the server at a site.
    """
    since: float | None = None
    told = 0.0
    while True:
        try:
            result = write()
        except NoRoomError as error:
            now = monotonic()
            since = now if since is None else since
            if now >= told:
                told = now + _AGAIN_SECONDS
                log.warning("the training waits until there is room on the disk: %s", error)
            sleep(_POLL_SECONDS)
        else:
            if since is not None:
                log.warning("the training goes on: there is room again after %.1f s", monotonic() - since)
            return result
