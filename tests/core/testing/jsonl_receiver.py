"""A receiver with a file as its backend, in a good and several broken forms, which the contract must distinguish."""

from __future__ import annotations

import json
import math
from pathlib import Path
from time import time_ns
from typing import Any, TextIO

from fedtrack import Batch, Receiver, RunInfo, Transient
from fedtrack.testing import Stored
from fedtrack.tracking.records import Metric


class JsonlReceiver(Receiver):
    """One line for each metric, in one file for the run."""

    name = "jsonl"
    summary = "Lines of JSON."
    supports = frozenset({Metric})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.file: TextIO | None = None
        self.seen: set[tuple[str, str, int]] = set()

    def open(self, run: RunInfo) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        path = run.folder / "metrics.jsonl"
        if path.exists():
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            self.seen = {(line["site"], line["stream"], line["seq"]) for line in lines}
        self.file = path.open("a")

    def receive(self, batch: Batch) -> None:
        for seq, record in zip(batch.seqs, batch.records, strict=True):
            place = (batch.site, batch.stream, seq)
            if place not in self.seen:
                self.write(batch, seq, record)  # type: ignore[arg-type]
                self.seen.add(place)

    def write(self, batch: Batch, seq: int, metric: Metric) -> None:
        fields = {"site": batch.site, "stream": batch.stream, "seq": seq, "key": metric.key}
        shown = {"value": metric.value, "step": metric.step, "time_ns": metric.time_ns}
        assert self.file is not None
        self.file.write(json.dumps(fields | shown) + "\n")

    def flush(self) -> None:
        if self.file is not None:
            self.file.flush()

    def close(self, status: str) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


class LosesTheTail(JsonlReceiver):
    """Writes full packets of four and forgets that the last one may not be full."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.packet: list[tuple[Batch, int, Metric]] = []

    def write(self, batch: Batch, seq: int, metric: Metric) -> None:
        self.packet.append((batch, seq, metric))
        if len(self.packet) == 4:
            for entry in self.packet:
                super().write(*entry)
            self.packet = []


class Reorders(JsonlReceiver):
    """Writes each batch newest first."""

    def receive(self, batch: Batch) -> None:
        super().receive(Batch(batch.site, batch.stream, batch.seqs[::-1], batch.records[::-1]))


class DuplicatesAfterTransient(JsonlReceiver):
    """Loses the connection in mid-batch and forgets what it had written by then."""

    failed = False

    def receive(self, batch: Batch) -> None:
        half = len(batch.records) // 2
        if half and not self.failed:
            self.failed = True
            super().receive(Batch(batch.site, batch.stream, batch.seqs[:half], batch.records[:half]))
            self.seen.clear()
            raise Transient("connection reset")
        super().receive(batch)


class InventsWallTime(JsonlReceiver):
    """Stamps points with the time at which they arrive."""

    def write(self, batch: Batch, seq: int, metric: Metric) -> None:
        super().write(batch, seq, Metric(time_ns(), metric.key, metric.value, metric.step))


class CrashesOnNaN(JsonlReceiver):
    """Cannot write what JSON has no word for."""

    def write(self, batch: Batch, seq: int, metric: Metric) -> None:
        if not math.isfinite(metric.value):
            raise ValueError("Out of range float values are not JSON compliant")
        super().write(batch, seq, metric)


class NeverFlushes(JsonlReceiver):
    """Keeps lines in the process until the end."""

    def flush(self) -> None:
        pass


class DropsHostileKeys(JsonlReceiver):
    """Makes file names of keys, and does so in a way that cannot be undone."""

    def write(self, batch: Batch, seq: int, metric: Metric) -> None:
        key = "".join(c if c.isalnum() else "_" for c in metric.key)
        super().write(batch, seq, Metric(metric.time_ns, key, metric.value, metric.step))


class ReopensAfresh(JsonlReceiver):
    """Starts an empty file at each open."""

    def open(self, run: RunInfo) -> None:
        (run.folder / "metrics.jsonl").unlink(missing_ok=True)
        super().open(run)


class KnowsSitesBeforehand(JsonlReceiver):
    """Has no place for a site that the job did not name."""

    def open(self, run: RunInfo) -> None:
        self.sites = run.sites
        super().open(run)

    def receive(self, batch: Batch) -> None:
        if batch.site in self.sites:
            super().receive(batch)


class TouchesAtConstruction(JsonlReceiver):
    """Makes its folder where the job is built."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        Path("results").mkdir(exist_ok=True)


class LoadsItsSdkEarly(JsonlReceiver):
    """Imports its SDK where the job is built; a module of the standard library stands for the SDK."""

    requires = ("wave",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        import wave  # noqa: F401


class ClosesOnce(JsonlReceiver):
    """Takes it for granted that open worked."""

    def close(self, status: str) -> None:
        assert self.file is not None
        super().close(status)


class WritesBesideTheRun(JsonlReceiver):
    """Makes paths of site names."""

    def open(self, run: RunInfo) -> None:
        self.folder = run.folder
        super().open(run)

    def receive(self, batch: Batch) -> None:
        (self.folder / f"{batch.site}.txt").write_text("seen")
        super().receive(batch)


def read_jsonl(folder: Path) -> list[Stored]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [Stored(line["site"], line["key"], line["value"], line["step"], line["time_ns"]) for line in lines]
