"""The promises of every engine for a run that completes while its server is busy, forgetful and slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedtrack.engine import RunHandle, RunState
from fedtrack.errors import RunNotFound
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import BlobRef, Metric, Text
from fedtrack_local.models.params import load_params

from .conftest import Ended, Site, Started, wait

SITES = ("site-1", "site-2")


@pytest.fixture(scope="module")
def ended(started: dict[str, Started]) -> Ended:
    return wait(started["delivery"])


def test_run_completes_with_every_event(ended: Ended) -> None:
    assert (ended.status.state, ended.status.events_complete) == (RunState.COMPLETED, True)
    assert ended.result.status == "completed"
    assert ended.result.events_complete


def test_counts(ended: Ended) -> None:
    for name in SITES:
        summary = ended.result.sites[name]
        assert (summary.logged, summary.journaled, len(ended.events[name])) == (103, 103, 103)


def test_trouble_did_happen(site: Site, ended: Ended) -> None:
    if site.name != "local":  # its trouble is a locked journal, which leaves no trace
        assert (ended.result.folder / "answers_lost").read_text()


def test_receivers_are_fed(ended: Ended) -> None:
    receiver = ended.result.receivers["receiver"]
    total = sum(site.journaled for site in ended.result.sites.values())
    assert receiver.receiver == "tensorboard"
    assert (receiver.delivered, receiver.dead, receiver.pending) == (total, 0, 0)
    assert list((ended.result.folder / "tb_events" / "site-1").glob("events.out.tfevents*"))
    assert str(ended.result.folder) in receiver.location


def test_order(ended: Ended) -> None:
    for name in SITES:
        steps = [r.step for _, _, r in ended.events[name] if isinstance(r, Metric) and r.key == "loss"]
        assert steps == list(range(100))


def test_no_duplicates(ended: Ended) -> None:
    for name in SITES:
        numbers = [(stream, seq) for stream, seq, _ in ended.events[name]]
        assert len(set(numbers)) == len(numbers)


def test_tail_event_after_the_last_task(ended: Ended) -> None:
    for name in SITES:
        _, _, last = ended.events[name][-1]
        assert isinstance(last, Metric)
        assert (last.key, last.step) == ("tail", 100)


def test_large_values_come_along(ended: Ended) -> None:
    blobs = BlobStore(ended.result.folder / "blobs")
    for name in SITES:
        notes = [record for _, _, record in ended.events[name] if isinstance(record, Text)]
        assert [isinstance(note.text, BlobRef) for note in notes] == [True, True]
        assert {blobs.read_text(note.text) for note in notes} == {name * 20_000}


def test_rounds_and_model(ended: Ended) -> None:
    model = load_params(ended.result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], np.full((2, 3), 2.0, np.float32))
    assert [r.metrics["accuracy"] for r in ended.result.rounds] == [0.0, pytest.approx(0.1)]
    assert [r.sites for r in ended.result.rounds] == [list(SITES)] * 2
    assert ended.result.best_round == 1


def test_run_is_found_again(site: Site, ended: Ended, tmp_path: Path) -> None:
    again = RunHandle.from_json(ended.handle.to_json())
    assert site.engine.status(again) == ended.status
    assert site.engine.fetch(again, tmp_path / "again").sites == ended.result.sites
    assert ended.result.run_id == again.run_id


def test_submitting_again_starts_nothing(site: Site, ended: Ended) -> None:
    job = Path(ended.result.workspace).parent / "jobs" / "contract"
    assert site.engine.submit(job, ended.handle.target, ended.handle.run_id) == ended.handle


def test_abort_after_the_end_does_nothing(site: Site, ended: Ended) -> None:
    site.engine.abort(ended.handle)
    assert site.engine.status(ended.handle) == ended.status


def test_unknown_run(site: Site, ended: Ended) -> None:
    unknown = RunHandle(ended.handle.engine, ended.handle.target, "nobody", "00000000-0000-0000-0000-000000000000")
    with pytest.raises(RunNotFound):
        site.engine.status(unknown)


def test_each_round_is_shown_over_the_sites(ended: Ended) -> None:
    shown = [record for _, _, record in ended.events["server"] if isinstance(record, Metric)]
    means = [(record.step, record.n) for record in shown if record.key == "across_sites/loss/mean"]
    assert means == [(0, 2), (1, 2)]
