"""A run's folder with a journal of given records, without an engine: for tests of what reads journals."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from fedtrack.journal.journal import Journal
from fedtrack.runs.result import RoundSummary, RunResult
from fedtrack.runs.tally import SiteTally
from fedtrack.runs.workspace import RUN_FOLDER, RunRecord
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, Record, encode

START_NS = 1_700_000_000_000_000_000


class JournaledRun:
    """A run whose journal is open for writing.

    Args:
        base: Its workspace.
        run_id: Its id.
    """

    def __init__(self, base: Path, run_id: str = "a" * 32) -> None:
        self.base, self.run_id = base, run_id
        self.folder = base / "server" / RUN_FOLDER
        self.folder.mkdir(parents=True)
        record = RunRecord(run_id, "", START_NS, number=0)
        (self.folder / "run.json").write_bytes(msgspec.json.encode(record))
        self.journal = Journal(self.folder / "journal.db")
        self.journal.set_meta("job_name", "a job")
        self._next: dict[str, int] = {}

    def log(self, site: str, records: Iterable[Record], round_: int | None = None) -> None:
        """Store records of a site as one batch."""
        stream = site.encode().hex()[:32].ljust(32, "0")
        first = self._next.get(stream, 1)
        salt, found = frames.salt_of(stream), list(records)
        body = b"".join(frames.frame(first + i, encode(record), salt) for i, record in enumerate(found))
        self._next[stream] = first + len(found)
        self.journal.apply(site, stream, [frames.FrameRange(first, first + len(found) - 1, len(found), body, round_)])

    def log_values(
        self, site: str, key: str, values: Sequence[float], round_: int | None = None, step: int = 0
    ) -> None:
        """Store metrics with ascending steps, a second apart."""
        at = START_NS + 10**9 * (step + 100 * (round_ or 0))
        self.log(site, [Metric(at + i * 10**9, key, float(v), step + i) for i, v in enumerate(values)], round_)

    def end(
        self, rounds: int = 0, sites: Iterable[str] = (), errors: dict[str, str] | None = None, key: str = ""
    ) -> None:
        """Write the summary of a completed run."""
        counts, errors, sites = self.journal.counts(), errors or {}, list(sites)
        tallies = {
            s: SiteTally(counts.get(s, 0), counts.get(s, 0), error=errors.get(s, "")) for s in [*sites, "server"]
        }
        done = [RoundSummary(n, {key: 0.5} if key else {}, sites, 10.0, 0) for n in range(rounds)]
        result = RunResult(
            self.run_id, "a job", "completed", "", self.base, self.folder, 60.0, done, {}, None, tallies, {}, []
        )
        result.key_metric = key
        result.save()


@contextlib.contextmanager
def journaled(base: Path, run_id: str = "a" * 32) -> Iterator[JournaledRun]:
    """Yield a run whose journal is open for writing."""
    run = JournaledRun(base, run_id)
    try:
        yield run
    finally:
        run.journal.close()
