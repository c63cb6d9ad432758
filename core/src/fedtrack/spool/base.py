"""SpoolBase: how a spool stores the usual metric, which needs no normalising and fits into the open segment.

After a training step, whose data has replaced ours in the processor's caches, each call of a function costs about a
microsecond, so that one call which does everything, the write included, costs less than half of what is put together in
Python. ``_spool_base.c`` is that call; where it could not be compiled the class below does the same.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any

from fedtrack.spool.frames import frame
from fedtrack.tracking.records import Metric, Record

log = logging.getLogger(__name__)

#: "0": do without what is compiled.
VARIABLE = "FEDTRACK_SPEEDUPS"

#: What the compiled class must agree on with Spool.
API = 1


class PythonSpoolBase:
    """The part of a Spool that has a compiled twin; the attributes are the twin's, too.

    Attributes:
        _fd: The open segment; -1 if there is none.
        _salt: What checksums start from.
        _next_seq: The next record's number.
        _segment_size: How many bytes the segment has.
        _plain_until: Up to this size it takes a frame by a write and nothing else.
        _writing: Whether a call is inside, so that another one on its thread, in a signal handler, must not enter.
        _torn: Whether the segment ends with a part of a frame that could not be removed.
        _prefix: What each payload begins with; used by the twin only.
    """

    _fd: int
    _salt: int
    _next_seq: int
    _segment_size: int
    _plain_until: int
    _writing: bool
    _torn: bool
    _prefix: bytes
    _holes: int
    _lock: threading.RLock
    _encode: Callable[[Record], bytes]
    _take_back: Callable[[int], None]

    def append_metric(self, key: Any, value: Any, step: Any) -> bool:
        """Store a metric of this moment if it is plain and there is room; return False if nothing was stored.

        Args:
            key: Plain if it is a str of 1 to 255 characters.
            value: Plain if it is a float.
            step: Plain if it is an int of 64 bits, or None.
        """
        if not (
            type(value) is float
            and type(key) is str
            and 0 < len(key) < 256
            and (step is None or (type(step) is int and -(2**63) <= step < 2**63))
        ):
            return False
        try:
            payload = self._encode(Metric(time_ns(), key, value, step))
        except UnicodeEncodeError:
            return False  # a lone surrogate
        with self._lock:
            if self._writing:
                return False
            self._writing = True
            try:
                seq, salt = self._next_seq, self._salt
                data = frame(seq, payload, salt)
                size = self._segment_size + len(data)
                if size > self._plain_until:
                    return self._salt != salt  # a child that was forked inside this call, which the parent completes
                # Claimed before the write: an exception between the two may leave a hole, which is legal,
                # but never two records with one number, of which the journal would drop the second.
                self._next_seq = seq + 1
                try:
                    written = os.write(self._fd, data)
                except OSError:
                    written = 0
                if written == len(data):
                    self._segment_size = size
                elif self._salt == salt:  # or this is such a child
                    if written:
                        self._take_back(written)
                    self._holes += 1
                    return False
            finally:
                self._writing = False
        return True

    def append_metrics(self, metrics: Any, step: Any, time: Any) -> bool:
        """Return False: in Python nothing is to be had from knowing that all of them are plain.

        Args:
            metrics: The twin stores a dict of floats and ints by str.
            step: Their step, or None.
            time: Nanoseconds since the epoch; now, if None.
        """
        return False


def _compiled() -> Any:
    if os.environ.get(VARIABLE) == "0":
        return None
    try:
        from fedtrack.spool import _spool_base
    except ImportError:  # there was no compiler, or this is another kind of interpreter
        return None
    if _spool_base.API == API:
        return _spool_base.SpoolBase
    log.warning(
        "The compiled log call in %s has the interface %s, this version of fedtrack needs %s and goes on in Python; "
        "to compile it again, install fedtrack again from where it came from",
        _spool_base.__file__,
        _spool_base.API,
        API,
    )
    return None


if TYPE_CHECKING:
    SpoolBase = PythonSpoolBase
else:
    SpoolBase = _compiled() or PythonSpoolBase
