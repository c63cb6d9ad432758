"""SpoolShipper: a site's side of the conversation with the server; knows no framework.

One thread sends one message at a time: if the server is slow, only the spool grows. Records that the server has not
acknowledged are never deleted.
"""

from __future__ import annotations

import logging
import math
import random
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import msgspec

from fedtrack.errors import TransportError, WorkspaceError
from fedtrack.files import write_whole
from fedtrack.journal.gaps import GapKind
from fedtrack.seals.release_log import RECEIPT
from fedtrack.spool import damaged_bytes
from fedtrack.spool.counter_page import note_sent, page_path, read_extent, read_sent
from fedtrack.spool.damaged_bytes import DamagedBytes
from fedtrack.spool.frames import FrameRange
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import Segment, list_files, list_streams, remove, segment_name
from fedtrack.transport.file_shipper import FileShipper
from fedtrack.transport.guard import Guard
from fedtrack.transport.version_1 import in_version_1, without_control_records
from fedtrack.transport.wire import MAX_BATCH, VERSION, Ack, Bye, Damage, Frames, FromSite, Hello, LogPart

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
#: Seconds to wait for the answer to a goodbye.
_BYE_SECONDS = 15.0
_FIRST_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 0.1, 5.0
#: The end of the run is waiting.
_LONGEST_ENDING_WAIT_SECONDS = 0.5

#: A proxy that takes no message of this size is not usable: a record alone may be larger.
MIN_BATCH = 32 * 1024

#: Sends one message and returns the answer; raises TransportError.
Call = Callable[[FromSite], Ack]
#: Makes the goodbye from the streams' final numbers.
MakeBye = Callable[[dict[str, int]], Bye]


class TooLargeError(TransportError):
    """Nobody on the way to the server takes a message of this size."""


class Later(TransportError):  # noqa: N818 - a turn of the conversation
    """The server did not take a message, which must be sent again.

    Attributes:
        seconds: Seconds to wait before that.
    """

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(f"The server does not take events: {reason}")
        self.seconds = seconds


class _Behind(Exception):  # noqa: N818 - a turn of the conversation, not an error
    """The server has fewer records of a stream than this site assumed."""

    def __init__(self, mark: int) -> None:
        super().__init__(mark)
        self.mark = mark


class SpoolShipper:
    """Ships one run's spool.

    Args:
        folder: The spool.
        run_id: The run.
        call: Sends a message to the server and returns the answer; used by one thread at a time.
        kept_by: Returns how much of a stream another reader of the spool has; records beyond it are not deleted.
        clock: Seconds that never run back.
        batch_bytes: The most bytes of frames or of a file in one message; halved when the server says "too large".
        guard: Looks at each record before it is let out of the site; None lets all out.

    Attributes:
        complete: Whether the server has confirmed, after the goodbye, that it has everything.
        rejected: Why the server refuses a stream, by stream.
        retries: How often a message had to be sent again.
        version: The version of the wire that both sides speak.
    """

    def __init__(
        self,
        folder: Path,
        run_id: str,
        call: Call,
        kept_by: Callable[[str], int] | None = None,
        clock: Callable[[], float] = monotonic,
        batch_bytes: int = MAX_BATCH,
        guard: Guard | None = None,
    ) -> None:
        self.guard = guard
        self.folder = folder
        self.batch_bytes = batch_bytes
        self.complete = False
        self.rejected: dict[str, str] = {}
        self.retries = 0
        self.version = VERSION
        self._run_id = run_id
        self._call = call
        self._kept_by = kept_by
        self._clock = clock
        self._marks: dict[str, int] | None = None
        self._lost: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._readers: dict[str, SpoolReader] = {}
        self._ended: set[str] = set()
        self._files = FileShipper(folder, run_id, self._ask, lambda: self.batch_bytes)
        self._failures = 0
        self._bye: MakeBye | None = None
        self._deadline = math.inf
        self._not_before = -math.inf
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="fedtrack-shipper", daemon=True)

    @property
    def ending(self) -> bool:
        """Whether ``end`` was called."""
        return self._bye is not None

    @property
    def marks(self) -> dict[str, int]:
        """The highest number of each stream that the server has confirmed; empty before the first answer."""
        return dict(self._marks or {})

    def start(self) -> None:
        """Begin to send, in the background."""
        self._thread.start()

    def finish(self, bye: MakeBye, timeout: float) -> bool:
        """Send the remaining records and the goodbye, and return whether the server has everything.

        Args:
            bye: Makes the goodbye from the streams' final numbers.
            timeout: Seconds after which the rest stays in the spool, for a later drain.
        """
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
            if self._thread.is_alive():
                return False  # the thread is still in a call that does not return
        self.end(bye, self._clock() + timeout)
        while (wait := self.step(self._clock())) is not None:
            sleep(min(wait, _LONGEST_ENDING_WAIT_SECONDS))
        return self.complete

    def end(self, bye: MakeBye, deadline: float) -> None:
        """Note that nothing will be appended to the spool any more: the rest is sent, and then the goodbye.

        Args:
            bye: Makes the goodbye from the streams' final numbers.
            deadline: The clock's time after which the rest stays in the spool.
        """
        self._bye, self._deadline = bye, deadline

    def step(self, now: float) -> float | None:
        """Send the readable records; after ``end`` also the goodbye.

        Args:
            now: The time, in seconds of the clock.

        Returns:
            Seconds until the next call; None if there is none, because all is sent or the deadline is over.
        """
        if now < self._not_before and self._bye is None:
            return self._not_before - now
        try:
            if self._bye is not None:
                return self._say_goodbye(self._bye, now)
            return 0.0 if self.ship(ended=False) else _POLL_SECONDS
        except Later as later:
            if now + later.seconds > self._deadline:
                log.warning("%s; what is left is kept in %s", later, self.folder)
                return None
            if self._failures == 1:
                log.warning("%s; events wait in %s", later, self.folder)
            self._not_before = now + later.seconds
            return later.seconds
        except OSError as error:
            log.error("%s cannot be read: %s", self.folder, error)
            return None if self._bye is not None else _POLL_SECONDS

    def _say_goodbye(self, bye: MakeBye, now: float) -> float | None:
        if self.ship(ended=True):
            return 0.0  # a call sends a bounded part of each stream
        if self.rejected:
            return None
        self._report_forgotten()
        self._report_gone()
        self._ship_log()
        final = dict(self._marks or {})
        # No record can be lost any more, and a server that has the goodbye may have ended without an answer.
        self._deadline = min(self._deadline, now + _BYE_SECONDS)
        self.complete = self._ask(bye(final)).verdict == "stored"
        if self.complete:
            return None
        self._marks = None  # the server lost acknowledged records: ask it for its marks
        return 0.0

    def _ship_log(self) -> None:
        """Send the site's release log, at the end, and keep the server's receipt of it."""
        if self.guard is None or self.version < 2:
            return
        self.guard.log.end()
        data, offset = self.guard.log.path.read_bytes(), 0
        while offset < len(data):
            ack = self._ask(LogPart(self._run_id, offset, data[offset : offset + self.batch_bytes]))
            if ack.verdict not in ("stored", "gap") or ack.stored_upto == offset:
                log.warning("%s: the server does not take the release log: %s", self.folder, ack.reason or ack.verdict)
                return
            offset = ack.stored_upto
            if ack.receipt and offset == len(data):
                write_whole(self.guard.log.path.with_name(RECEIPT), ack.receipt.encode() + b"\n")

    def _work(self) -> None:
        while not self._ending.is_set():
            wait = self.step(self._clock())
            if wait:
                self._ending.wait(wait)

    def ship(self, *, ended: bool) -> int:
        """Send all readable records and return their number.

        Args:
            ended: Whether nothing will be appended to the spool any more.

        Raises:
            Later: The server does not take them now.
            OSError: The spool cannot be read.
        """
        if self._marks is None:
            self._marks = self._say_hello()
            self._readers.clear()
        count = 0
        for stream, segments in sorted(list_streams(self.folder).items()):
            if stream in self.rejected:
                continue
            try:
                count += self._ship_stream(stream, segments, ended=ended)
            except _Behind as behind:
                self._step_back(stream, segments, behind.mark)
                count += self._ship_stream(stream, segments, ended=ended)
            except BaseException:
                self._readers.pop(stream, None)  # it has read what was not acknowledged
                raise
            self._delete(stream, segments, ended=ended)
        return count

    def _say_hello(self) -> dict[str, int]:
        """Return the server's marks, and find out its version of the wire."""
        self.version = VERSION
        ack = self._ask(Hello(self._run_id, VERSION))
        if ack.verdict == "rejected":  # version 1 refuses a message with a version
            self.version = 1
            ack = self._ask(Hello(self._run_id))
        self.version = min(VERSION, ack.version)
        return dict(ack.marks)

    def _ship_stream(self, stream: str, segments: list[Segment], *, ended: bool) -> int:
        assert self._marks is not None  # noqa: S101 - set by ship()
        if stream not in self._readers:
            mark = self._marks.setdefault(stream, 0)
            if mark == 0 and segments[0].first_seq > 1:
                self._lost[stream] = segments[0].first_seq - 1
            self._readers[stream] = SpoolReader(stream, mark, read_bytes=self.batch_bytes)
        count = 0
        extent = read_extent(page_path(self.folder, stream)) if ended else None
        for part in self._readers[stream].read(segments, ended=ended, extent=extent):
            if isinstance(part, DamagedBytes):
                self._report(stream, part)
                continue
            part = self._let_out(stream, part)
            self._files.send(part)
            sent = without_control_records(stream, part) if self.version < 2 else part
            if sent is not None:
                self._send(stream, sent)
                if stream in self.rejected:
                    break
            count += part.count
        return count

    def _let_out(self, stream: str, part: FrameRange) -> FrameRange:
        if self.guard is None:
            return part
        try:
            return self.guard.let_out(stream, part)
        except WorkspaceError as error:  # a full disk: what cannot be noted is not let out
            raise Later(str(error), _LONGEST_BACKOFF_SECONDS) from None

    def _send(self, stream: str, part: FrameRange) -> None:
        assert self._marks is not None  # noqa: S101 - set by ship()
        after, lost = self._marks[stream], self._lost.get(stream, 0)
        ack = self._ask(
            Frames(self._run_id, stream, after, lost, part.first, part.last, part.count, part.body, part.round)
        )
        if ack.verdict == "rejected":
            log.error("%s: the server refuses the stream %s: %s", self.folder, stream, ack.reason)
            self.rejected[stream] = ack.reason
            return
        if ack.verdict == "gap":
            raise _Behind(ack.stored_upto)
        self._lost.pop(stream, None)
        self._marks[stream] = ack.stored_upto

    def _step_back(self, stream: str, segments: list[Segment], mark: int) -> None:
        assert self._marks is not None  # noqa: S101
        log.warning(
            "%s: the server has %d of %s, not %d; sending again", self.folder, mark, stream, self._marks[stream]
        )
        self._marks[stream] = mark
        self._readers[stream] = SpoolReader(stream, mark, read_bytes=self.batch_bytes)
        if segments[0].first_seq > mark + 1:
            self._lost[stream] = segments[0].first_seq - 1 - mark

    def _delete(self, stream: str, segments: list[Segment], *, ended: bool) -> None:
        assert self._marks is not None  # noqa: S101
        if stream in self.rejected or stream not in self._readers:
            return
        known = self._marks[stream]
        if self._kept_by is not None:
            known = min(known, self._kept_by(stream))
        reader = self._readers[stream]
        done = reader.deletable(segments, ended=ended, up_to=known)
        if len(done) == len(segments):
            self._sent[stream] = max(known, reader.after_seq)
            note_sent(page_path(self.folder, stream), self._sent[stream])
        for path in done:
            remove(path, damaged=path in reader.damaged)
        if len(done) == len(segments):
            self._ended.add(stream)

    def _report(self, stream: str, damage: DamagedBytes, *, known: bool = True) -> None:
        """Tell the server of damage; ``known`` is whether the reader may know how many records were lost with it."""
        if damage.torn:
            log.info("the last write of a killed process is incomplete: %d bytes", damage.size)
            return
        log.error("%s", damage.reason)
        reader = self._readers.get(stream)
        self._ask(
            Damage(
                self._run_id,
                stream,
                damage.size,
                damage.reason,
                GapKind.MISSING if damage.gone else GapKind.DAMAGED,
                reader.lost(damage) if known and reader is not None else None,
                damage.first,
                damage.last,
            )
        )

    def _report_forgotten(self) -> None:
        """Report the records that the server has had, and does not have any more."""
        marks = self._marks or {}
        for stream, lost in list(self._lost.items()):  # of which no later record was left to say that
            mark = marks.get(stream, 0)
            self._report(stream, damaged_bytes.forgotten(self.folder, mark + 1, mark + lost), known=False)
            self._lost.pop(stream, None)
        for stream, segments in list_files(self.folder).segments.items():
            if not segments and (sent := read_sent(page_path(self.folder, stream))) is not None:
                self._sent.setdefault(stream, sent)
        for stream, sent in self._sent.items():
            if (mark := marks.get(stream, 0)) < sent:
                self._report(stream, damaged_bytes.forgotten(self.folder, mark + 1, sent), known=False)

    def _report_gone(self) -> None:
        """Report the streams whose last segment somebody else has deleted."""
        for stream, segments in list_files(self.folder).segments.items():
            extent = None if segments else read_extent(page_path(self.folder, stream))
            mark = (self._marks or {}).get(stream, 0)
            # A shipper that was killed may have deleted the last segment, and has noted that if it could.
            known = stream in self._ended or stream in self._sent
            if extent is not None and (extent.first > mark or stream in self._readers) and not known:
                name = self.folder / segment_name(stream, extent.first)
                self._report(stream, damaged_bytes.gone(name, extent.size, mark + 1, None))
                self._ended.add(stream)
        for stream in self._readers.keys() - list_files(self.folder).segments.keys() - self._ended:  # the page, too
            first = self._readers[stream].after_seq + 1
            self._report(stream, damaged_bytes.gone(self.folder / segment_name(stream, first), 0, first, None))
            self._ended.add(stream)

    def _ask(self, message: FromSite) -> Ack:
        """Send a message and return the answer.

        Raises:
            Later: There is no answer, or the server is busy.
        """
        wait = min(_FIRST_BACKOFF_SECONDS * 2 ** min(self._failures, 16), _LONGEST_BACKOFF_SECONDS)
        try:
            ack = self._call(in_version_1(message) if self.version < 2 else message)
        except TooLargeError as error:
            if self.batch_bytes > MIN_BATCH:
                self.batch_bytes = max(MIN_BATCH, self.batch_bytes // 2)
                self._readers.clear()
                raise Later(f"{error}; trying {self.batch_bytes} bytes", 0.0) from None
            reason = str(error)
        except (TransportError, msgspec.MsgspecError) as error:
            reason = str(error)
        else:
            if ack.verdict != "busy":
                self._failures = 0
                return ack
            wait, reason = max(wait, ack.retry_after), ack.reason
        self.retries += 1
        self._failures += 1
        raise Later(reason, wait * self._random.uniform(0.5, 1.0))
