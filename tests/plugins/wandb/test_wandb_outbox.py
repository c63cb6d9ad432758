"""Rows that are sent together are the same as those that ``run.log`` writes, and as safe."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wandb.sdk.lib.asyncio_manager import AsyncioManager

from fedtrack import Permanent, RunInfo, Transient
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_wandb import outbox, rows
from fedtrack_wandb.core_process import CORE
from fedtrack_wandb.outbox import Outbox
from fedtrack_wandb.receiver import WandBReceiver

from .conftest import MakeReceiver, batch
from .offline_run import read_records, read_runs
from .test_wandb_core_death import kill_core
from .test_wandb_offline import png

SECOND = 1_000_000_000


@pytest.fixture
def crossings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was run in W&B's thread while somebody waited for it."""
    found: list[object] = []
    run = AsyncioManager.run

    def counted(self: AsyncioManager, function: Callable[[], Any]) -> Any:
        found.append(function)
        return run(self, function)

    monkeypatch.setattr(AsyncioManager, "run", counted)
    return found


def test_a_thousand_rows_cross_together(
    make_receiver: MakeReceiver, run_info: RunInfo, crossings: list[object]
) -> None:
    receiver = make_receiver()
    receiver.receive(batch(Metric(0, "v", 0, 0)))
    crossings.clear()
    receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(1, 1001)), first=1))
    assert len(crossings) <= 5
    receiver.close("completed")
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("v") == [*range(1001)]


def test_the_file_is_the_one_that_log_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record by record and in order: rows, the axes before them, config, files and the summary."""
    values = [0.5, -0.0, 1.0, 1e-320, 1e300, 0.1 + 0.2, 2**60, math.nan, math.inf, -math.inf]
    records: list[Record] = [
        *(Metric(17 * SECOND + i, f"n{i % 3}/é", value, 5 - i) for i, value in enumerate(values)),
        Param(18 * SECOND, "lr", 0.1),
        *(Metric(19 * SECOND + i // 2, key, i) for i, key in enumerate(["a", "b", "global_step", "_step", "a*b"])),
        Text(20 * SECOND, "phase", "warm-up", 1),
        Text(21 * SECOND, "page", "two\nlines", 2),
        Image(22 * SECOND, "sample", png(), 3),
        Tag(23 * SECOND, "model", "b"),
        Histogram(24 * SECOND, "weights", (0.0, 1.0, 2.0), (3.0, 4.0), 4),
        Artifact(25 * SECOND, "a.txt", b"a"),
        *(Metric(26 * SECOND + i, "late", i / 7, i) for i in range(600)),
    ]
    shared = written(tmp_path / "shared", records)
    monkeypatch.setattr(outbox, "KNOWN", ())
    assert shared == written(tmp_path / "one-by-one", records)
    assert {name for name, _ in shared} == KINDS
    assert sum(name == "history" for name, _ in shared) == 617


@pytest.mark.parametrize("unknown", ["version", "interface"])
def test_a_wandb_of_unknown_inside_gets_each_row_by_log(
    make_receiver: MakeReceiver,
    run_info: RunInfo,
    crossings: list[object],
    monkeypatch: pytest.MonkeyPatch,
    unknown: str,
) -> None:
    if unknown == "version":
        monkeypatch.setattr("wandb.__version__", "0.32.0")
    else:
        monkeypatch.setattr("wandb.sdk.interface.interface_sock.InterfaceSock", dict)
    receiver = make_receiver()
    receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(300))))
    assert len(crossings) > 300
    receiver.close("completed")
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("v") == [*range(300)]


@pytest.mark.parametrize(("size", "crossed"), [(1, 0), (256, 0), (256, 100), (256, 256)])
def test_an_inside_that_only_looked_familiar_costs_no_row(
    make_receiver: MakeReceiver,
    run_info: RunInfo,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    size: int,
    crossed: int,
) -> None:
    """Handing over fails after some records although wandb-core lives: they go one by one from then on, none twice."""
    monkeypatch.setattr(CORE, "trusts_outbox", True)
    hand_over = Outbox.hand_over

    def fails(self: Outbox) -> None:
        if len(self._records) < size:
            return hand_over(self)
        while len(self._records) > crossed:
            self._records.pop()
        hand_over(self)
        raise TypeError("publish() takes no ServerRequest")

    monkeypatch.setattr(Outbox, "hand_over", fails)
    receiver = make_receiver()
    with contextlib.suppress(Transient):  # if it is found out while the run starts; delivery tries again
        receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(600))))
    receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(1200))))
    receiver.close("completed")
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("v") == [*range(1200)]
    assert caplog.text.count("one by one") == 1


@pytest.mark.parametrize("at", [1, 255, 256, 300, 599])
def test_rows_that_were_kept_back_when_wandb_core_died(
    make_receiver: MakeReceiver, run_info: RunInfo, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The next wandb-core has them, and once, without a further call."""
    build = rows.build

    def dies(row: rows.Row, blobs: BlobStore, folder: Path) -> dict[str, Any]:
        if row[0].time_ns == at:
            monkeypatch.setattr(rows, "build", build)
            kill_core()
        return build(row, blobs, folder)

    monkeypatch.setattr(rows, "build", dies)
    receiver = make_receiver()
    receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(600))))
    deadline = time.monotonic() + 10
    while (found := read_runs(run_info.folder)["job-1a2b-site-1"].values("v")) != [*range(600)]:
        assert time.monotonic() < deadline, f"{len(found)} of 600 rows"
        time.sleep(0.05)


def test_a_refused_row_takes_none_with_it(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    records = [Metric(i, "v", i, i) for i in range(400)]
    with pytest.raises(Permanent) as caught:
        receiver.receive(batch(*records[:200], Image(200, "broken", b"no image"), *records[200:]))
    assert caught.value.indices == (200,)
    receiver.close("completed")
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("v") == [*range(400)]


def test_nothing_is_kept_back_outside_of_a_block(make_receiver: MakeReceiver) -> None:
    """What W&B itself publishes, at the end of the run for instance, would wait for ever."""
    receiver = make_receiver()
    receiver.receive(batch(Metric(0, "v", 0)))
    run = receiver._runs["site-1"]._run
    box = Outbox(run)
    with pytest.raises(ZeroDivisionError), box:
        run.log({"v": 1 / 0})
    run.log({"v": 1})
    assert not box._records
    with box:
        run.log({"v": 2})
    assert len(box._records) == 1


def written(folder: Path, records: list[Record]) -> list[tuple[str, Any]]:
    """Return what W&B's file holds once ``records`` were received, without what the clock puts in."""
    receiver = WandBReceiver()
    receiver.open(RunInfo("job-1a2b", "hello", folder, "server", ("site-1",), 0, BlobStore(folder / "blobs")))
    receiver.receive(batch(*records))
    receiver.close("completed")
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return [plain(record) for record in read_records(file) if kind(record) in KINDS]


KINDS = {"history", "summary", "metric", "config", "files", "exit"}


def kind(record: Any) -> str:
    return str(record.WhichOneof("record_type"))


def plain(record: Any) -> tuple[str, Any]:
    content = getattr(record, kind(record))
    match kind(record):
        case "history":
            return "history", values_of(content.item)
        case "summary" | "config" as name:
            return name, values_of(content.update)
        case "exit":
            return "exit", content.exit_code
        case name:
            return name, str(content)


def values_of(items: Any) -> dict[str, str]:
    # wandb-core writes a row's items in any order.
    found = {item.key or ".".join(item.nested_key): item.value_json for item in items}
    return {key: value for key, value in found.items() if key != "_runtime" and not key.startswith("_wandb")}
