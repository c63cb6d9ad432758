"""Place: the site and round that code works for, in a process that works for many sites, also in threads it starts."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class Place(NamedTuple):
    """The site and the round of a task."""

    site: str
    round: int | None


#: None outside tasks. A coroutine inherits it; a thread does after ``follow_threads``.
place: ContextVar[Place | None] = ContextVar("fedtrack_place", default=None)

_followed: list[weakref.ref[threading.Thread]] = []
_original_start = threading.Thread.start
_original_submit = ThreadPoolExecutor.submit


def follow_threads() -> None:
    """From now on, a thread works in the place of the code that starts it, and a task of a pool in that of its caller.

    Otherwise a thread that outlives its site's task would log under the name of the next site.
    """
    threading.Thread.start = _start  # type: ignore[method-assign,assignment]
    ThreadPoolExecutor.submit = _submit  # type: ignore[method-assign,assignment]


def any_followed() -> bool:
    """Return whether a thread is alive that was started in a place."""
    _followed[:] = [one for one in _followed if (thread := one()) is not None and thread.is_alive()]
    return bool(_followed)


def _start(thread: threading.Thread) -> None:
    here = place.get()
    if here is not None:
        run = thread.run
        thread.run = lambda: _work(here, run)  # type: ignore[method-assign]
        _followed.append(weakref.ref(thread))
    _original_start(thread)


def _submit(pool: ThreadPoolExecutor, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
    here = place.get()
    if here is None:
        return _original_submit(pool, function, *args, **kwargs)
    return _original_submit(pool, _work, here, function, *args, **kwargs)


def _work(here: Place, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    token = place.set(here)
    try:
        return function(*args, **kwargs)
    finally:
        place.reset(token)
