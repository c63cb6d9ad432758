"""The promises of `make demo`, counted in the real stores."""

from __future__ import annotations

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.tracking.records import Metric, Param, decode
from support.demo import Demo, run_example
from support.tensorboard_server import TensorBoard

pytestmark = pytest.mark.xdist_group("demo")

NODES = ("server", "site-1", "site-2")


def journaled(folder: Path) -> Counter[tuple[str, str]]:
    """Count the journal's records by (site, kind)."""
    journal = Journal(folder / "journal.db")
    found: Counter[tuple[str, str]] = Counter()
    for batch in journal.read(0, limit_bytes=1 << 40):
        for _, payload in batch.events():
            found[batch.site, type(decode(payload)).__name__] += 1
    journal.close()
    return found


def test_accuracy_after_five_rounds(demo: Demo) -> None:
    assert len(demo.result.rounds) == 5
    assert demo.result.final_metrics["accuracy"] >= 0.95


def test_same_numbers_twice(demo: Demo, tmp_path: Path) -> None:
    again = run_example("hello-pt-mlflow", tmp_path / "ws", "--num-rounds", "2").result
    first = [r.metrics for r in demo.result.rounds]
    assert [r.metrics for r in again.rounds] == first[:2]
    # Weighed alike, by steps in a round and by nothing at the end: the sums may round differently.
    assert again.final_metrics == pytest.approx(first[2], rel=1e-12)


def test_logged_equals_journaled_equals_delivered(demo: Demo) -> None:
    result = demo.result
    for name in NODES:
        assert result.sites[name].logged == result.sites[name].journaled > 0
    total = sum(site.journaled for site in result.sites.values())
    assert total == sum(journaled(result.folder).values())
    assert {receiver.receiver for receiver in result.receivers.values()} == {"tensorboard", "mlflow"}
    for receiver in result.receivers.values():
        assert (receiver.delivered, receiver.skipped, receiver.dead, receiver.pending) == (total, {}, 0, 0)


def test_every_point_is_in_mlflow(demo: Demo) -> None:
    counts = journaled(demo.result.folder)
    store = sqlite3.connect(demo.result.folder / "mlflow.db")
    try:
        rows = "SELECT t.value, count(*) FROM {} r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'fedtrack.site'"
        metrics = dict(store.execute(rows.format("metrics") + " GROUP BY t.value").fetchall())
        params = dict(store.execute(rows.format("params") + " GROUP BY t.value").fetchall())
    finally:
        store.close()
    assert metrics == {node: counts[node, Metric.__name__] for node in NODES}
    params.pop("server")  # the receiver's own facts about the run: rounds, sites, aggregator
    assert params == {node: counts[node, Param.__name__] for node in NODES if counts[node, Param.__name__]}


def test_every_point_is_in_the_event_files(demo: Demo) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    counts = journaled(demo.result.folder)
    for node in NODES:
        reader = EventAccumulator(str(demo.result.folder / "tb_events" / node), size_guidance={"scalars": 0}).Reload()
        assert sum(len(reader.Scalars(tag)) for tag in reader.Tags()["scalars"]) == counts[node, Metric.__name__]


def test_every_point_is_shown_by_tensorboard(demo: Demo, tensorboard: TensorBoard) -> None:
    (tensorboard.logdir / "demo").symlink_to(demo.result.folder / "tb_events")
    counts = journaled(demo.result.folder)
    expected = {node: counts[node, Metric.__name__] for node in NODES}

    def shown() -> dict[str, int]:
        tags = tensorboard.get("data/plugin/scalars/tags")
        return {
            node: sum(len(tensorboard.scalars(f"demo/{node}", tag)) for tag in tags.get(f"demo/{node}", ()))
            for node in NODES
        }

    tensorboard.until(shown, expected)


def test_summary_names_the_commands_that_show_the_results(demo: Demo) -> None:
    assert f"tensorboard --logdir {demo.result.folder / 'tb_events'}" in demo.output
    assert f"mlflow ui --backend-store-uri sqlite:///{demo.result.folder / 'mlflow.db'}" in demo.output
    assert "scored by the sites that received it" in demo.output


def test_server_never_imports_torch(demo: Demo) -> None:
    assert "fedtrack" in demo.modules  # the probe does see what is imported
    assert not {"torch", "mlflow"} & set(demo.modules)  # the receivers have a process of their own


def test_number_of_sites_and_rounds_can_be_chosen(tmp_path: Path) -> None:
    result = run_example("hello-pt-mlflow", tmp_path / "ws", "-n", "4", "--num-rounds", "1").result
    assert [result.sites[f"site-{n}"].error for n in range(1, 5)] == [""] * 4
    assert len(result.rounds) == 1
