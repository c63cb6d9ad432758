"""SpoolBase: the fast path of a spool, for a metric that needs no normalising and fits into the open segment.

After a training step the processor's caches hold the training's data, and each function call costs about a
microsecond. A single compiled call, the write included, costs less than half of the same in Python. ``_spool_base.c``
is that call. If it could not be compiled, the class below does the same.
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

#: The variable that disables the compiled code with the value "0".
VARIABLE = "FEDTRACK_SPEEDUPS"

#: The interface number on which the compiled class and Spool must agree.
API = 1


class PythonSpoolBase:
    """The part of a Spool that has a compiled twin. The twin has the same attributes.

    Attributes:
        _fd: The open segment; -1 if there is none.
        _salt: The start value of the checksums.
        _next_seq: The next record's number.
        _segment_size: The segment's size in bytes.
        _plain_until: The segment's size up to which a frame needs one write and no further check.
        _writing: Whether a call is active. A second call on its thread, from a signal handler, must not enter.
        _torn: Whether the segment ends with a part of a frame that could not be removed.
        _prefix: The first bytes of each payload; used by the twin only.
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
        """Store a metric with the current time if it is plain and there is room; return False if nothing was stored.

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
                # Claimed before the write. An exception between the two may leave a hole, which is legal,
                # but never two records with one number: the journal would drop the second one.
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
        """Return False: only the compiled twin has this fast path.

        Args:
            metrics: Floats and ints by str keys, as a dict.
            step: The step of all metrics, or None.
            time: Nanoseconds since the epoch; None means now.
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
