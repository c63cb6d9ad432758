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
from importlib import import_module
from itertools import pairwise
from time import time_ns
from typing import Any, ClassVar, Protocol
from weakref import WeakKeyDictionary

from fedtrack.errors import ConfigError
from fedtrack.tracking import normalise
from fedtrack.tracking.blobs import INLINE_LIMIT, BlobStore
from fedtrack.tracking.continued_steps import ContinuedLog
from fedtrack.tracking.long_values import SHOWN_CHARS, valued_records
from fedtrack.tracking.records import (
    Artifact,
    BlobRef,
    Direction,
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


#: Of one writer; a script that logs under ever new bad keys must not fill the log.
_MOST_WARNINGS = 100


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

_continued: WeakKeyDictionary[RecordLog, ContinuedLog] = WeakKeyDictionary()

#: Whether a thread or task of this process was ever given a record log of its own. In such a process a writer without
#: one is a mistake, which would log beside the run; in every other process it belongs to a script of its own.
_connects = False


def bound_here(record_log: RecordLog) -> Callable[[], None]:
    """Let the writers of this thread or task use ``record_log``; return a function that restores what was before.

    A new thread begins without it, so that a process with many sites never logs for the wrong one.
    """
    global _connects
    _connects = True
    previous = _bound_here.get()
    _bound_here.set(record_log)

    def restore() -> None:
        _bound_here.set(previous)

    return restore


_join: Callable[[], object] | None = None


def when_unbound(join: Callable[[], object]) -> None:
    """Call ``join`` when a writer has no record log: it may ``bind`` one if the process belongs to a job."""
    global _join
    _join = join


def _joined() -> RecordLog | None:
    if _join is not None:
        _join()
    return _bound


class Writer:
    """Base of the dialects.

    In a job, create one after ``fedtrack.client.init()``. In a script that no job runs, records go to a run folder of
    the script's own; see ``fedtrack.runs.alone``.

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
        found = (record_log, _bound_here.get(), _bound)
        chosen = next((item for item in found if item is not None), None)
        if chosen is None:
            chosen = _joined()
        if chosen is None:
            chosen = _outside_a_job(type(self).__name__)
        self._log = chosen
        # A spool has one more method than other record logs: it stores metrics that need no normalising.
        self._append_metric: Callable[[Any, Any, Any], bool] = getattr(chosen, "append_metric", _has_none)
        self._append_metrics: Callable[[Any, Any, Any], bool] = getattr(chosen, "append_metrics", _has_none)
        # A spool whose site has a policy is asked before a value is looked at, and no reason may show one.
        self._withholds: Callable[[type[Record], Any], bool] = getattr(chosen, "withholds", _has_none)
        self._hushes = getattr(chosen, "gate", None) is not None
        self._warned: set[str] = set()

    def continue_steps(self) -> None:
        """From now on, make one ascending count of steps that begin again, such as those of a loop in each round.

        All such writers of one record log continue the same count. A log call costs a few microseconds more.
        """
        if isinstance(self._log, ContinuedLog):
            return
        try:
            self._log = _continued.setdefault(self._log, ContinuedLog(self._log))
        except TypeError:  # a record log that is no key of a dict
            self._log = ContinuedLog(self._log)
        self._append_metric = self._append_metrics = _has_none

    def record_metric(
        self, key: str, value: Any, step: int | None = None, time: int | None = None, n: int | None = None
    ) -> None:
        """Log one scalar.

        Args:
            key: Name of the metric, 1 to 1,024 UTF-8 bytes.
            value: Any real number, numpy scalar or one-element tensor; NaN and infinities are kept. A bool is 1.0 or
                0.0, as in torch and MLflow, with one warning; text that is a number is that number.
            step: The script's step, or None.
            time: Wall clock in nanoseconds since the epoch; now, if None.
            n: For how many samples the value stands, which a site's policy may ask; None if that is not said.
        """
        if (
            time is None
            and n is None
            and (self._append_metric(key, value, step) or self._append_metric(key, normalise.item(value), step))
        ):
            return
        self._append(key, partial(self._metric, key, value, step, time, n))

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
        self._log.extend([self._built(key, partial(self._metric, key, value, step, time)) for key, value in items])

    def record_plain(self, metrics: Any, step: Any) -> bool:
        """Log metrics of one step if none of them needs normalising; otherwise log nothing and return False.

        For dialects that first try this, and convert ``metrics`` in their own way only if it returns False.
        """
        return self._append_metrics(metrics, step, None)

    def record_param(self, key: str, value: Any) -> None:
        """Log a hyperparameter; a value other than a number, bool, str or None is stored as its ``str()``.

        A value of more than 16 KiB is shown cut, and is whole in an artifact.
        """
        self._append_valued(Param, key, partial(normalise.scalar, value))

    def record_tag(self, key: str, value: Any) -> None:
        """Set a tag on this site's run; the value is stored as its ``str()``. For long values see ``record_param``."""
        self._append_valued(Tag, key, partial(normalise.text_value, value))

    def record_text(self, key: str, text: str, step: int | None = None, time: int | None = None) -> None:
        """Log text of any length up to 64 Mi characters; for ``time`` see ``record_metric``."""
        if self._withholds(Text, key):
            return

        def build() -> Text:
            content = normalise.text(text)
            stored: str | BlobRef = content
            if len(content) > INLINE_LIMIT // 4:
                stored = self._log.blobs.put(content.encode())
            return Text(_at(time), normalise.key(key), stored, normalise.step(step))

        self._append(key, build)

    def record_image(
        self, key: str, data: bytes, step: int | None = None, format: str = "png", time: int | None = None
    ) -> None:
        """Log an encoded image (``format`` is ``"png"`` or ``"jpeg"``); for ``time`` see ``record_metric``."""
        if self._withholds(Image, key):
            return

        def build() -> Image:
            kind = normalise.text_value(format)
            if kind not in ("png", "jpeg"):
                raise normalise.Refused(
                    f"the image format {normalise.shorten(kind)} is unknown; valid are 'png' and 'jpeg'"
                )
            return Image(_at(time), normalise.key(key), self._stored(data), normalise.step(step), kind)

        self._append(key, build)

    def record_histogram(
        self,
        key: str,
        edges: Iterable[Any],
        counts: Iterable[Any],
        step: int | None = None,
        time: int | None = None,
    ) -> None:
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
            return Histogram(_at(time), normalise.key(key), bounds, heights, normalise.step(step))

        self._append(key, build)

    def record_artifact(self, path: str, data: bytes) -> None:
        """Log a file under a relative, ``/``-separated path."""
        if self._withholds(Artifact, path):
            return

        def build() -> Artifact:
            plain = normalise.key(path)
            if any(part in ("", ".", "..") for part in plain.split("/")) or "\\" in plain or "\0" in plain:
                raise normalise.Refused(f"the path {normalise.shorten(plain)} is not relative and plain")
            return Artifact(time_ns(), plain, self._stored(data))

        self._append(path, build)

    def record_direction(self, key: str, better: str) -> None:
        """Say which values of a metric are the good ones: ``"higher"`` or ``"lower"``. It is not a log call.

        Views of many sites use it to name the worst one. Where nobody says it, it is guessed from the metric's name.

        Raises:
            ConfigError: ``better`` is something else, or ``key`` is no name of a metric.
        """
        if better not in ("higher", "lower"):
            shown = f"{normalise.shorten(key)} is {normalise.shorten(better)}"
            raise ConfigError(f"The direction of {shown}; valid are 'higher' and 'lower'.")
        try:
            record = Direction(time_ns(), normalise.key(key), better)
        except normalise.Refused as error:
            raise ConfigError(f"The direction {better!r} is of no metric: {error}.") from None
        note = getattr(self._log, "note", None)  # a spool has it
        if note is not None:
            note(record)

    def record_rejected(self, key: Any, error: Exception) -> None:
        """Count a log call whose arguments a dialect cannot convert; ``error`` says why."""
        self._log.append(self._rejected(key, error))

    def _stored(self, data: Any) -> bytes | BlobRef:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise normalise.Refused(f"the data is a {type(data).__name__}; it must be bytes")
        content = bytes(data)
        return content if len(content) <= INLINE_LIMIT else self._log.blobs.put(content)

    def _append_valued(self, kind: type[Param] | type[Tag], key: Any, normal: Callable[[], Any]) -> None:
        if self._withholds(kind, key):
            return
        try:
            value = normal()
            if self._hushes and isinstance(value, str):
                value = value[:SHOWN_CHARS]  # the whole one would be an artifact, of which a policy speaks apart
            records = valued_records(kind, key, value, self._log.blobs)
        except Exception as error:  # the methods of any object, or a full disk
            self.record_rejected(key, error)
        else:
            self._log.extend(records)

    def _append(self, key: Any, build: Callable[[], Record]) -> None:
        self._log.append(self._built(key, build))

    def _built(self, key: Any, build: Callable[[], Record]) -> Record:
        try:
            return build()
        except Exception as error:  # any object may be passed, and its methods may raise anything
            return self._rejected(key, error)

    def _metric(self, key: Any, value: Any, step: Any, time: Any, n: Any = None) -> Metric:
        record = Metric(
            _at(time), normalise.key(key), normalise.metric_value(value), normalise.step(step), normalise.samples(n)
        )
        if isinstance(normalise.item(value), bool) and self._first_time("bool"):
            log.warning(
                "%s: the value of %s is a bool; bools are logged as 1.0 and 0.0 (said once)",
                type(self).__name__,
                normalise.shorten(key),
            )
        return record

    def _rejected(self, key: Any, error: Exception) -> Rejected:
        reason = normalise.reason(error)
        shown = normalise.shorten(key)
        if self._hushes:  # the log file may leave the site, too
            if self._first_time(type(error).__name__):
                log.warning("%s: a call was refused: %s (counted)", type(self).__name__, type(error).__name__)
        elif self._first_time(shown):
            log.warning("%s: %s was not logged: %s (counted as rejected)", type(self).__name__, shown, reason)
        return Rejected(time_ns(), shown, reason)

    def _first_time(self, subject: str) -> bool:
        """Return whether nothing was said of ``subject`` yet, so that a loop does not fill the log."""
        if subject in self._warned or len(self._warned) >= _MOST_WARNINGS:
            return False
        self._warned.add(subject)
        return True


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


def _at(time: Any) -> int:
    return time_ns() if time is None else normalise.wall_time(time)


def _outside_a_job(name: str) -> RecordLog:
    """Return the record log of a script that no job runs; see ``fedtrack.runs.alone``, a room above this one."""
    if _connects:
        raise ConfigError(
            f"{name} was created in a thread without a run, or after its run was finished; call fedtrack.connect() in "
            "this thread, or run.bound()."
        )
    record_log: RecordLog = import_module("fedtrack.runs.alone").record_log()
    return record_log
