"""Intake: the server's side of the conversation with the sites; knows no framework.

It refuses every invalid message, because the sites are machines of other people. It accepts fields and kinds of records
that only a newer version knows.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any, get_args

import msgspec

from fedtrack.errors import DamagedError, WorkspaceError
from fedtrack.journal.group_commit import GroupCommit
from fedtrack.journal.journal import GapKind, Goodbye, Journal
from fedtrack.spool import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import AnyRecord, BlobRef, decode
from fedtrack.transport.quota import OVER_QUOTA, Quota, SiteQuota
from fedtrack.transport.received_logs import ReceivedLogs
from fedtrack.transport.wire import (
    MAX_BATCH,
    VERSION,
    Ack,
    Bye,
    Damage,
    FilePart,
    Frames,
    FromSite,
    Hello,
    LogPart,
    UnknownMessageError,
    decode_from_site,
    encode,
)

log = logging.getLogger(__name__)

_STREAM = re.compile(r"[0-9a-f]{32}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_MAX_FILE = 4 * 1024**3
#: The largest integer in SQLite.
_MAX_NUMBER = 2**63 - 1
_MAX_CHAIN = 64
_KNOWN_KINDS = frozenset(kind.__struct_config__.tag for kind in get_args(AnyRecord))

#: The most messages in work at once, and the seconds that a message waits before the site is told to try later.
_SLOTS, _SLOT_SECONDS, _RETRY_SECONDS = 64, 1.0, 0.5


class Intake:
    """Takes a run's events from its sites.

    Args:
        run_id: The run; messages for another one are refused.
        journal: The journal for the events; an event is acknowledged only after the journal's commit.
        blobs: The store for large values.
        quota: What each site may send; None means the usual one.
        clock: Seconds since any moment; never runs back.
    """

    def __init__(
        self,
        run_id: str,
        journal: Journal,
        blobs: BlobStore,
        quota: Quota | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._quota, self._clock = quota or Quota(), clock
        self._used: dict[str, SiteQuota] = {}
        self._run_id = run_id
        self._journal = journal
        self._blobs = blobs
        self._commits = GroupCommit(journal)
        self._slots = threading.Semaphore(_SLOTS)
        self._idle = threading.Condition()
        self._working = 0
        self._closed = False
        self._files: dict[str, threading.Lock] = {}
        #: The digests of the files that each site has sent to this process.
        self._sent: dict[str, set[str]] = {}
        self._forgotten = frozenset(journal.forgotten.all())  # only while nobody else has the journal open
        self._logs = ReceivedLogs(journal.path.parent / "release_logs")

    def handle(self, site: str, data: bytes) -> bytes:
        """Answer one message of ``site``, whose name the transport guarantees; never raises."""
        used = self._used.setdefault(site, SiteQuota(self._quota, self._clock))
        if not used.begin():  # so that no site takes the slots of the others
            return encode(Ack("busy", retry_after=_RETRY_SECONDS, reason="too many messages of this site at once"))
        try:
            if not self._slots.acquire(timeout=_SLOT_SECONDS):
                return encode(Ack("busy", retry_after=_RETRY_SECONDS, reason="too many messages at once"))
            return self._handle(site, data, used)
        finally:
            used.end()

    def refused(self) -> dict[str, int]:
        """Return how many messages of each site were over its quota; sites without one are left out."""
        return {site: used.refused for site, used in list(self._used.items()) if used.refused}

    def _handle(self, site: str, data: bytes, used: SiteQuota) -> bytes:
        try:
            message = decode_from_site(data)
            wait = used.take(message.count if isinstance(message, Frames) else 1, len(data))
            if wait:
                return self._too_much(site, wait, used)
            return encode(self._answer(site, message))
        except UnknownMessageError as error:
            log.warning("%s: %s", site, error)
            return encode(Ack("unknown", reason=str(error), version=VERSION))
        except (msgspec.MsgspecError, DamagedError, ValueError, RecursionError) as error:
            log.error("%s: refused: %s", site, error)
            return encode(Ack("rejected", reason=str(error)[:500]))
        except (WorkspaceError, OSError) as error:
            # A full disk: the site keeps the records, and the journal is unchanged.
            log.error("%s: not stored: %s", site, error)
            return encode(Ack("busy", retry_after=_RETRY_SECONDS, reason=str(error)[:500]))
        finally:
            self._slots.release()

    def _too_much(self, site: str, wait: float, used: SiteQuota) -> bytes:
        reason = (
            f"{site} sends more than {self._quota.events_per_second:,.0f} records or "
            f"{self._quota.bytes_per_second:,.0f} bytes a second; {OVER_QUOTA}"
        )
        if used.refused == 1:
            log.warning("%s", reason)
        return encode(Ack("busy", retry_after=wait, reason=reason))

    def close(self) -> None:
        """Refuse all further messages and wait for those in work: the journal is about to be closed."""
        with self._idle:
            self._closed = True
            self._idle.wait_for(lambda: self._working == 0)

    def byes(self) -> dict[str, Goodbye]:
        """Return the goodbyes of the sites that have said one, also to an earlier process of this server."""
        return self._journal.goodbyes.all()

    def has_everything_of(self, site: str) -> bool:
        """Return whether the site has said goodbye and the journal has all records up to its final numbers."""
        return self._journal.goodbyes.has_everything_of(site)

    def is_complete(self, sites: Iterable[str]) -> bool:
        """Return whether that is true for all ``sites``."""
        return all(self.has_everything_of(site) for site in sites)

    def _answer(self, site: str, message: FromSite) -> Ack:
        if message.run_id != self._run_id:
            raise ValueError(f"a message for the run {message.run_id[:64]!r}, this is {self._run_id!r}")
        with self._idle:
            if self._closed:
                return Ack("busy", retry_after=_RETRY_SECONDS, reason="the run is over")
            self._working += 1
        try:
            return self._work(site, message)
        finally:
            with self._idle:
                self._working -= 1
                self._idle.notify_all()

    def _work(self, site: str, message: FromSite) -> Ack:
        if site in self._forgotten and not isinstance(message, Hello):
            return _refused_as_forgotten(site, message)
        if isinstance(message, Hello):
            return Ack("stored", marks=self._journal.high_waters(site), version=min(message.version, VERSION))
        if isinstance(message, Frames):
            return self._store(site, message)
        if isinstance(message, FilePart):
            # A site that did not wait for an answer may send a piece twice at once.
            with self._files.setdefault(site, threading.Lock()):
                return self._store_file(site, message)
        if isinstance(message, LogPart):
            with self._files.setdefault(site, threading.Lock()):
                return self._logs.take(site, message)
        if isinstance(message, Damage):
            return self._note_damage(site, message)
        return self._take_leave(site, message)

    def _store(self, site: str, message: Frames) -> Ack:
        mark = self._journal.high_water(site, _stream(message.stream))
        if message.last <= mark:
            return Ack("duplicate", mark)
        if mark < message.after and not message.lost:
            return Ack("gap", mark, reason=f"the server has {mark}, not {message.after}")
        if mark == 0 and len(self._journal.high_waters(site)) >= self._quota.streams:
            raise ValueError(f"more than {self._quota.streams} streams")
        run = _checked(message)
        if message.lost > 0:
            reason = f"{message.lost} events that the server once had"
            self._journal.record_gap(
                site,
                message.stream,
                GapKind.MISSING,
                reason,
                count=_number(message.lost),
                first=mark + 1,
                last=run.first - 1,
            )
        return Ack("stored", self._commits.apply(site, message.stream, run))

    def _note_damage(self, site: str, damage: Damage) -> Ack:
        try:
            kind = GapKind(damage.kind)
        except ValueError:  # of a newer version
            kind = GapKind.DAMAGED
        if not self._used[site].may_lose():
            self._journal.record_gap(
                site,
                "",
                GapKind.DAMAGED,
                f"it reported more than {self._quota.losses:,} losses; the others are not listed",
            )
            return Ack("stored")
        self._journal.record_gap(
            site,
            _stream(damage.stream),
            kind,
            damage.reason[:500],
            count=_number(damage.count),
            first=_number(damage.first),
            last=_number(damage.last),
            size=_number(max(0, damage.size)) or 0,
        )
        return Ack("stored")

    def _store_file(self, site: str, message: FilePart) -> Ack:
        if not _DIGEST.match(message.sha256) or not 0 <= message.size <= _MAX_FILE or len(message.data) > MAX_BATCH:
            raise ValueError("no valid piece of a file")
        ref = BlobRef(message.sha256, message.size)
        if ref.sha256 in self._sent.setdefault(site, set()):
            return Ack("duplicate", ref.size)
        part = self._part(site, ref)
        if not part.exists() and self._unfinished(part) >= self._quota.unfinished_files:
            raise ValueError(f"more than {self._quota.unfinished_files} files of which only a part has arrived")
        there = part.stat().st_size if part.exists() else 0
        if there < ref.size or not ref.size:
            if message.offset != there or there + len(message.data) > ref.size:
                return Ack("gap", there)
            with part.open("ab") as file:
                file.write(message.data)
            there += len(message.data)
        if there == ref.size:  # also if an earlier process was killed before it did this
            self._adopt(site, part, ref)
        return Ack("stored", there)

    def _part(self, site: str, ref: BlobRef) -> Path:
        """Return the path of a partial file; each site has its own."""
        self._blobs.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = hashlib.sha256(site.encode()).hexdigest()[:16]
        return self._blobs.folder / f".{owner}-{ref.sha256}.part"

    @staticmethod
    def _unfinished(part: Path) -> int:
        """Return how many partial files the site has."""
        owner = part.name[: part.name.index("-") + 1]
        return sum(name.startswith(owner) for name in os.listdir(part.parent))  # noqa: PTH208 - no Path for each

    def _adopt(self, site: str, part: Path, ref: BlobRef) -> None:
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != ref.sha256:
            part.unlink()
            raise ValueError(f"the file {ref.sha256} arrived with another content")
        # Replaced, too, if another site has sent it: whether it was here must not show.
        part.replace(self._blobs.folder / ref.sha256)
        self._blobs.secure(ref)
        self._sent[site].add(ref.sha256)

    def _take_leave(self, site: str, bye: Bye) -> Ack:
        streams = {_stream(name) for name in (*bye.final, *bye.counts)}
        if len(streams | self._journal.high_waters(site).keys()) > self._quota.streams:
            raise ValueError(f"more than {self._quota.streams} streams")
        for number in (*bye.final.values(), bye.logged, bye.dropped, bye.withheld, bye.rejected):
            _number(number)
        for counts in bye.counts.values():
            for number in counts or ():
                _number(number)
        if len(bye.chain or b"") > _MAX_CHAIN:
            raise ValueError(f"the head of a chain has {len(bye.chain or b'')} bytes, more than {_MAX_CHAIN}")
        if bye.counts:
            self._journal.apply_all([], counts=[(site, stream, found) for stream, found in bye.counts.items()])
        self._journal.goodbyes.record(
            site,
            Goodbye(bye.final, bye.logged, bye.dropped, bye.withheld, bye.rejected, bye.error[:5000], bye.chain),
        )
        if self.has_everything_of(site):
            return Ack("stored")
        return Ack("gap", reason="the final numbers are beyond what the server has")


def _refused_as_forgotten(site: str, message: FromSite) -> Ack:
    """Take nothing of a site that was forgotten; its goodbye is heard, so that it does not repeat it for ever."""
    if isinstance(message, Bye | Damage):
        return Ack("stored")
    return Ack("rejected", reason=f"the records of {site!r} were forgotten here, and no further ones are taken")


def _number(value: int | None) -> int | None:
    if value is not None and not 0 <= value <= _MAX_NUMBER:
        raise ValueError(f"{value} is no count")
    return value


def _stream(name: str) -> str:
    if not _STREAM.match(name):
        raise ValueError(f"{name[:64]!r} is no stream")
    return name


def _checked(message: Frames) -> frames.FrameRange:
    """Return the frames as a run; every record is checked here once, because receivers decode it later."""
    if len(message.body) > 2 * frames.MAX_PAYLOAD:
        raise ValueError(f"{len(message.body)} bytes of frames are too many")
    before = message.first - 1
    salt = frames.salt_of(message.stream)
    found = frames.scan(message.body, salt, previous=before, after_seq=before, final=True).parts
    run = found[0] if len(found) == 1 else None
    if not isinstance(run, frames.FrameRange) or len(run.body) != len(message.body):
        raise ValueError(f"frames {message.first} to {message.last} of {message.stream} are damaged")
    if (run.first, run.last, run.count) != (message.first, message.last, message.count):
        raise ValueError(f"frames {run.first} to {run.last} came as {message.first} to {message.last}")
    for _, payload in frames.split(run.body):
        _check_record(payload)
    return replace(run, round=_number(message.round))


def _check_record(payload: memoryview) -> None:
    """Accept records that a receiver can decode, and records of kinds that only a newer version knows.

    Raises:
        msgspec.DecodeError: The record is neither.
    """
    try:
        decode(payload)
    except msgspec.DecodeError as error:
        try:
            record: Any = msgspec.msgpack.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise error from None
        if not isinstance(record, list) or not record or type(record[0]) is not int or record[0] in _KNOWN_KINDS:
            raise
