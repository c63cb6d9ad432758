"""A plugin with a receiver that keeps lines in a file; a test can switch it off, or make it refuse records."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from fedtrack import Batch, Receiver, ReceiverOptions, RunInfo, hookimpl
from fedtrack.errors import Permanent, Transient
from fedtrack.tracking.records import Metric


class PickyOptions(ReceiverOptions, kw_only=True, forbid_unknown_fields=True):
    """The file to write; beside it, ``<file>.down`` makes it unreachable and ``<file>.picky`` refuses some steps."""

    file: str


class Picky(Receiver):
    """Knows from its file what it has."""

    name = "picky"
    summary = "Lines in a file."
    supports = frozenset({Metric})
    gather_seconds = 0.0
    Options = PickyOptions
    options: PickyOptions

    def open(self, run: RunInfo) -> None:
        self._file = Path(self.options.file)
        self._reach()
        self._file.touch()

    def receive(self, batch: Batch) -> None:
        self._reach()
        held = set(self._lines())
        picky = Path(f"{self._file}.picky").exists()
        refused = []
        with self._file.open("a") as file:
            for position, (seq, record) in enumerate(zip(batch.seqs, batch.records, strict=True)):
                assert isinstance(record, Metric)
                line = json.dumps([batch.site, batch.stream, seq, record.key, record.step])
                if picky and (record.step or 0) % 10 == 3:
                    refused.append(position)
                elif line not in held:
                    file.write(line + "\n")
        if refused:
            raise Permanent("no steps that end in 3", refused)

    def count(self, sites: Sequence[str]) -> dict[str, int]:
        self._reach()
        counts = Counter(json.loads(line)[0] for line in self._lines())
        return {site: counts[site] for site in sites}

    def _lines(self) -> list[str]:
        return self._file.read_text().splitlines()

    def _reach(self) -> None:
        if Path(f"{self._file}.down").exists():
            raise Transient("the backend is down")


@hookimpl
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    return (Picky,)
