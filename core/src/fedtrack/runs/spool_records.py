"""Spool records: the events that a rescued journal lacks, and that are still in the spools of its sites."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from fedtrack.journal.rescue import note_lost
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.worker_folders import spool_of, worker_folders, worker_name
from fedtrack.spool import frames
from fedtrack.spool.hosted import unwrap
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_files

#: The checksum of the batches that a rescue leaves in the place of lost events.
_LOST = "crc = -1"


def take_back(path: Path, run: StoredRun, node: str) -> dict[str, int]:
    """Let a forwarder read the lost events that spools still have once more; return how many they are, by site.

    The marks of their streams go back to the last record that was rescued, or that is in no spool any more.

    Args:
        path: The rescued journal.
        run: Its run.
        node: Its node.
    """
    found: dict[str, int] = {}
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        hosts = {spool_of(folder): worker_name(folder) for folder in worker_folders(run.workers)}
        rows = connection.execute(f"SELECT id, site, stream, n FROM batch WHERE {_LOST}").fetchall()  # noqa: S608
        for id_, site, stream, lost in rows:
            for spool, host in {run.node(site) / "spool": "", **hosts}.items():
                count = _take_back(connection, spool, host, (site, stream), (id_, lost))
                if count:
                    found[site] = found.get(site, 0) + count
                    break
    return found


def _take_back(
    connection: sqlite3.Connection, spool: Path, host: str, key: tuple[str, str], empty: tuple[int, int]
) -> int:
    site, stream = key
    segments = list_files(spool).segments.get(stream) if spool.is_dir() else None
    if not segments:
        return 0
    which = f"site = ? AND stream = ? AND NOT {_LOST}"
    kept = connection.execute(f"SELECT coalesce(max(last), 0) FROM batch WHERE {which}", key).fetchone()[0]  # noqa: S608
    mark = connection.execute("SELECT last FROM stream WHERE site = ? AND stream = ?", key).fetchone()[0]
    after = max(kept, min(segments[0].first_seq - 1, mark))
    count = 0
    for part in SpoolReader(stream, after, pass_bytes=2**62).read(segments, ended=True):
        if isinstance(part, frames.FrameRange):
            count += sum(
                seq <= mark and _is_event_of(payload, host and site) for seq, payload in frames.split(part.body)
            )
    id_, lost = empty
    count = min(count, lost)
    if not count:
        return 0
    connection.execute("DELETE FROM gap WHERE reason LIKE ?", (f"batch {id_} of the journal%",))
    if count == lost:
        connection.execute("DELETE FROM batch WHERE id = ?", (id_,))
    else:
        connection.execute("UPDATE batch SET n = ? WHERE id = ?", (lost - count, id_))
        note_lost(connection, id_, site, stream, lost - count)
    for name in (site, host) if host else (site,):
        connection.execute(
            "UPDATE stream SET last = min(last, ?), n = max(0, n - ?), final = NULL WHERE site = ? AND stream = ?",
            (after, count if name == site else 0, name, stream),
        )
    return count


def _is_event_of(payload: memoryview, site: str) -> bool:
    if not site:
        return frames.is_event(payload)
    hosted = unwrap(payload)
    return hosted is not None and hosted[0] == site and frames.is_event(hosted[1])
