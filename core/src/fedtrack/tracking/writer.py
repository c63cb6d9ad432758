"""Writer: the base class of the loggers in a training script.

A writer is a thin dialect: it has the methods of an API that its users know, and each of them calls one of the
``record_...`` methods below. Those normalise the arguments once, so that every receiver can hold the records of
every writer, and return as soon as the record is in the spool.

A log call never raises for a bad *value*: the value becomes a counted ``Rejected`` record and one warning,
because a metric must not stop a training. A wrong *keyword* is a TypeError, as for every Python function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import partial
from itertools import pairwise
from time import time_ns
from typing import Any, ClassVar, Protocol

from fedtrack.errors import ConfigError
from fedtrack.tracking import normalise
from fedtrack.tracking.blobs import INLINE_LIMIT, BlobStore
from fedtrack.tracking.records import (
    Artifact,
    BlobRef,
    Histogram,
    Image,
    Metric,
    Param,
    Record,
    Rejected,
    Tag,
    Text,
)

log = logging.getLogger(__name__)


class RecordLog(Protocol):
    """The destination of a writer's records: a site's spool, or a list in a test."""

    blobs: BlobStore

    def append(self, record: Record) -> None:
        """Store one record; it is durable when the call returns."""

    def extend(self, records: Iterable[Record]) -> None:
        """Store several records with one write: all of them or, if there is no room, none."""


_bound: RecordLog | None = None


def bind(record_log: RecordLog | None) -> RecordLog | None:
    """Let the writers of this process use ``record_log``, and return the record log that they used before."""
    global _bound
    previous, _bound = _bound, record_log
    return previous


_bound_here: ContextVar[RecordLog | None] = ContextVar("fedtrack_record_log", default=None)


def bound_here(record_log: RecordLog) -> Callable[[], None]:
    """Let the writers of this thread or task use ``record_log``; return a function that restores what was before.

    A new thread begins without it, so that a process with many sites never logs for the wrong one.
    """
    previous = _bound_here.get()
    _bound_here.set(record_log)

    def restore() -> None:
        _bound_here.set(previous)

    return restore


class Writer:
    """Base of the dialects; create one after ``fedtrack.client.init()``.

    Args:
        record_log: The destination of the records; None means the one that ``bind`` was given.

    Class attributes:
        name: The name in listings, unique among installed writers.
        summary: One line for listings.
        supports: Record kinds that its calls log, for listings.
        api: The version of the writer interface that the class was written for.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    supports: ClassVar[frozenset[type[Record]]] = frozenset()
    api: ClassVar[int] = 1

    def __init__(self, record_log: RecordLog | None = None) -> None:
        chosen = record_log or _bound_here.get() or _bound
        if chosen is None:
            raise ConfigError(
                f"{type(self).__name__} was created outside a fedtrack job; call fedtrack.client.init() first, in a "
                "script that a job runs (fedtrack run, or python job.py), or fedtrack.connect() in this thread."
            )
        self._log = chosen
        # A spool has one more method than other record logs: it stores metrics that need no normalising.
        self._append_metric: Callable[[Any, Any, Any], bool] = getattr(chosen, "append_metric", _has_none)
        self._append_metrics: Callable[[Any, Any, Any], bool] = getattr(chosen, "append_metrics", _has_none)
        self._warned: set[str] = set()

    def record_metric(self, key: str, value: Any, step: int | None = None, time: int | None = None) -> None:
        """Log one scalar.

        Args:
            key: Name of the metric, 1 to 1,024 UTF-8 bytes.
            value: Any real number, numpy scalar or one-element tensor; NaN and infinities are kept.
            step: The script's step, or None.
            time: Wall clock in nanoseconds since the epoch; now, if None.
        """
        if time is None and (
            self._append_metric(key, value, step) or self._append_metric(key, normalise.item(value), step)
        ):
            return
        self._append(key, lambda: _metric(key, value, step, time))

    def record_metrics(self, metrics: Mapping[str, Any], step: int | None = None, time: int | None = None) -> None:
        """Log several scalars of one step with one write; see ``record_metric``."""
        if self._append_metrics(metrics, step, time):
            return
        if time is None:
            time = time_ns()
        try:
            items = [(key, value) for key, value in metrics.items()]
        except Exception as error:  # no mapping
            self._log.append(self._rejected(metrics, error))
            return
        numbers = _numbers(items)
        if numbers is not None and self._append_metrics(numbers, step, time):
            return
        plain = type(time) is int and 0 <= time <= normalise.INT64_MAX and _is_plain_step(step)
        if plain and all(_is_plain(key, value) for key, value in items):
            try:
                self._log.extend([Metric(time, key, value, step) for key, value in items])
                return
            except UnicodeEncodeError:
                pass  # nothing was stored: records are encoded before the first is written
        self._log.extend([self._built(key, partial(_metric, key, value, step, time)) for key, value in items])

    def record_plain(self, metrics: Any, step: Any) -> bool:
        """Log metrics of one step if none of them needs normalising; otherwise log nothing and return False.

        For dialects that first try this, and convert ``metrics`` in their own way only if it returns False.
        """
        return self._append_metrics(metrics, step, None)

    def record_param(self, key: str, value: Any) -> None:
        """Log a hyperparameter; a value other than a number, bool, str or None is stored as its ``str()``."""
        self._append(key, lambda: Param(time_ns(), normalise.key(key), normalise.scalar(value)))

    def record_tag(self, key: str, value: Any) -> None:
        """Set a tag on this site's run; the value is stored as its ``str()``."""
        self._append(key, lambda: Tag(time_ns(), normalise.key(key), normalise.text_value(value)))

    def record_text(self, key: str, text: str, step: int | None = None) -> None:
        """Log text of any length up to 64 Mi characters."""

        def build() -> Text:
            content = normalise.text(text)
            stored: str | BlobRef = content
            if len(content) > INLINE_LIMIT // 4:
                stored = self._log.blobs.put(content.encode())
            return Text(time_ns(), normalise.key(key), stored, normalise.step(step))

        self._append(key, build)

    def record_image(self, key: str, data: bytes, step: int | None = None, format: str = "png") -> None:
        """Log an encoded image (``format`` is ``"png"`` or ``"jpeg"``)."""

        def build() -> Image:
            kind = normalise.text_value(format)
            if kind not in ("png", "jpeg"):
                raise normalise.Refused(
                    f"the image format {normalise.shorten(kind)} is unknown; valid are 'png' and 'jpeg'"
                )
            return Image(time_ns(), normalise.key(key), self._stored(data), normalise.step(step), kind)

        self._append(key, build)

    def record_histogram(self, key: str, edges: Iterable[Any], counts: Iterable[Any], step: int | None = None) -> None:
        """Log counts over buckets; ``edges`` has one element more than ``counts`` and ascends."""

        def build() -> Histogram:
            bounds = tuple(normalise.number(edge) for edge in edges)
            heights = tuple(normalise.number(count) for count in counts)
            if len(bounds) != len(heights) + 1 or not heights:
                raise normalise.Refused(
                    f"the histogram has {len(bounds)} edges and {len(heights)} counts; it needs one edge more"
                )
            if not all(low < high for low, high in pairwise(bounds)):
                raise normalise.Refused("the edges of the histogram do not ascend")
            return Histogram(time_ns(), normalise.key(key), bounds, heights, normalise.step(step))

        self._append(key, build)

    def record_artifact(self, path: str, data: bytes) -> None:
        """Log a file under a relative, ``/``-separated path."""

        def build() -> Artifact:
            plain = normalise.key(path)
            if any(part in ("", ".", "..") for part in plain.split("/")) or "\\" in plain or "\0" in plain:
                raise normalise.Refused(f"the path {normalise.shorten(plain)} is not relative and plain")
            return Artifact(time_ns(), plain, self._stored(data))

        self._append(path, build)

    def record_rejected(self, key: Any, error: Exception) -> None:
        """Count a log call whose arguments a dialect cannot convert; ``error`` says why."""
        self._log.append(self._rejected(key, error))

    def _stored(self, data: Any) -> bytes | BlobRef:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise normalise.Refused(f"the data is a {type(data).__name__}; it must be bytes")
        content = bytes(data)
        return content if len(content) <= INLINE_LIMIT else self._log.blobs.put(content)

    def _append(self, key: Any, build: Callable[[], Record]) -> None:
        self._log.append(self._built(key, build))

    def _built(self, key: Any, build: Callable[[], Record]) -> Record:
        try:
            return build()
        except Exception as error:  # any object may be passed, and its methods may raise anything
            return self._rejected(key, error)

    def _rejected(self, key: Any, error: Exception) -> Rejected:
        reason = normalise.reason(error)
        shown = normalise.shorten(key)
        if shown not in self._warned and len(self._warned) < 100:
            self._warned.add(shown)
            log.warning("%s: %s was not logged: %s (counted as rejected)", type(self).__name__, shown, reason)
        return Rejected(time_ns(), shown, reason)


def _has_none(*_: Any) -> bool:
    return False


def _numbers(items: list[tuple[Any, Any]]) -> dict[Any, Any] | None:
    """Return the items with each numpy scalar or tensor as a Python number; None if the keys do not make a dict."""
    try:
        found = {key: value if type(value) is float else normalise.item(value) for key, value in items}
    except TypeError:  # a key that cannot be hashed
        return None
    return found if len(found) == len(items) else None


def _is_plain(key: Any, value: Any) -> bool:
    """Return whether nothing of a metric needs normalising, which is the usual case and must cost little."""
    return type(key) is str and type(value) is float and 0 < len(key) < 256


def _is_plain_step(step: Any) -> bool:
    return step is None or (type(step) is int and normalise.INT64_MIN <= step <= normalise.INT64_MAX)


def _metric(key: Any, value: Any, step: Any, time: Any) -> Metric:
    now = time_ns() if time is None else normalise.wall_time(time)
    return Metric(now, normalise.key(key), normalise.number(value), normalise.step(step))
