"""The processes that the crash campaign kills: writers that log in a tight loop, and a server that stores and delivers.

Every value of a slot is logged once, in order. Before a log call a writer notes its number (``attempted``),
and afterwards again (``returned``), in memory that survives the writer.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE
from fedtrack.delivery.ledger import Ledger as DeliveryLedger
from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import Metric, Record, Text
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

SITES = ("site-1", "site-2")
SLOTS_PER_SITE = 2
RECEIVER = "file"


@dataclass(frozen=True)
class Ledger:
    """Shared memory: two numbers per slot.

    Assigning an element is one store of eight bytes; ``struct.pack_into`` would clear them first, and a kill or
    a look between the two would find 0.
    """

    cells: memoryview

    def attempted(self, slot: int) -> int:
        return int(self.cells[2 * slot])

    def returned(self, slot: int) -> int:
        return int(self.cells[2 * slot + 1])

    def attempt(self, slot: int, value: int) -> None:
        self.cells[2 * slot] = value

    def confirm(self, slot: int, value: int) -> None:
        self.cells[2 * slot + 1] = value


def blob_content(slot: int, value: int) -> bytes:
    return f"{slot}:{value};".encode() * 4_000


def write(
    root: Path, site: str, ledger: Ledger, seed: int, calls: int | None = None, *, pause_seconds: float = 0.0
) -> None:
    """Log until killed, or ``calls`` times, with a pause after each call."""
    source = random.Random(seed)
    folder = root / site / "spool"
    first = SITES.index(site) * SLOTS_PER_SITE
    slots = range(first, first + SLOTS_PER_SITE)
    # What was attempted but never confirmed may or may not be there: those values are not used again.
    following = {slot: ledger.attempted(slot) + 1 for slot in slots}
    spools = {slot: Spool(folder, segment_bytes=source.choice((300, 5_000, 65_536, 2**22))) for slot in slots}
    done = 0
    while calls is None or done < calls:
        slot = source.choice(slots)
        count = source.choice((1,) * 20 + (5, 100))
        values = range(following[slot], following[slot] + count)
        following[slot] += count
        records = [_record(spools[slot], slot, value) for value in values]
        ledger.attempt(slot, values[-1])
        if count == 1:
            _store(spools[slot], records[0])
        else:
            spools[slot].extend(records)
        ledger.confirm(slot, values[-1])
        done += 1
        if pause_seconds:
            sleep(pause_seconds)
        elif source.random() < 0.01:
            sleep(source.uniform(0, 0.01))
    for spool in spools.values():
        spool.close()


def _store(spool: Spool, record: Record) -> None:
    # As a writer does: the short way, which is compiled, or the long one.
    if isinstance(record, Metric) and spool.append_metrics({record.key: record.value}, record.step, record.time_ns):
        return
    spool.append(record)


def _record(spool: Spool, slot: int, value: int) -> Record:
    if value % 1_000 == 7:
        return Text(value, str(slot), spool.blobs.put(blob_content(slot, value)), value)
    return Metric(value, str(slot), value / 8, value)


class FileReceiver(Receiver):
    """Appends a line per record to one file per stream, and knows from the file what it has."""

    name = "file"
    summary = "Lines in files."
    supports = frozenset({Metric, Text})
    gather_seconds = 0.0

    def open(self, run: RunInfo) -> None:
        self._folder = run.folder / RECEIVER
        self._folder.mkdir(exist_ok=True)
        self._last: dict[tuple[str, str], int] = {}
        self._files: dict[tuple[str, str], Any] = {}

    def receive(self, batch: Batch) -> None:
        key = (batch.site, batch.stream)
        if key not in self._files:
            path = self._folder / f"{batch.site}-{batch.stream}"
            lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
            whole = lines[:-1]  # what follows the last newline was torn by a kill
            self._last[key] = int(whole[-1].split()[0]) if whole else 0
            self._files[key] = path.open("ab")
            self._files[key].truncate(sum(len(line) + 1 for line in whole))
        for seq, record in zip(batch.seqs, batch.records, strict=True):
            if seq > self._last[key]:
                self._files[key].write(f"{seq} {record.key} {record.time_ns}\n".encode())  # type: ignore[attr-defined]
                self._last[key] = seq

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()


class UnreliableJournal(Journal):
    """A journal that is sent batches twice, fails before a commit, and whose acknowledgement is lost after one."""

    source = random.Random()

    def apply_all(self, *parts: Any) -> dict[tuple[str, str], int]:
        parts = tuple(map(list, parts))
        chance = self.source.random()
        if chance < 0.03:
            raise WorkspaceError("no room, says the campaign")
        marks = super().apply_all(*parts)
        if chance < 0.06:
            raise WorkspaceError("the acknowledgement is lost, says the campaign")
        if chance < 0.09:
            assert super().apply_all(*parts) == marks
        return marks


def serve(root: Path, seed: int, *, drain: bool) -> None:
    """Forward and deliver until killed, or until everything is delivered."""
    source = random.Random(seed)
    kind = Journal if drain else UnreliableJournal
    UnreliableJournal.source = source
    journal = kind(root / "journal.db")
    blobs = BlobStore(root / "blobs")
    forwarder = Forwarder(poll_seconds=0.002)
    for site in SITES:
        size = source.choice((60, 1_000, 65_536, 2**20))
        forwarder.add(SpoolSource(site, root / site / "spool", journal, blobs, read_bytes=size))
    run = RunInfo("campaign", "campaign", root, "server", SITES, 0, blobs)
    ledger = DeliveryLedger(root / LEDGER_FILE, journal)
    delivery = Delivery(RECEIVER, FileReceiver(), journal, ledger, run, backoff_seconds=0.01)
    forwarder.start()
    delivery.start()
    while not drain:
        sleep(60)
    for site in SITES:
        forwarder.end(site)
    forwarder.stop()
    delivery.drain("completed")
    report = delivery.finish(60)
    ledger.close()
    journal.close()
    complete = not (forwarder.errors or report.pending or report.dead or report.error)
    os._exit(0 if complete else 1)
