"""WorkerExchange with real workers: who is done again, who has failed, and what a group's answer holds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import JobError
from fedtrack.runs.worker_folders import next_worker_folder
from fedtrack.runs.workspace import RunRecord, Workspace
from fedtrack_local.processes.messages import WorkerSpec
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.roster import Roster
from fedtrack_local.workers import worker_exchange
from fedtrack_local.workers.worker_exchange import WorkerExchange, worker_count
from fedtrack_local.workflows.workflow import GroupAnswer, Task
from support.site_processes import fork_server, pool, worker_spec

__all__ = ["fork_server", "pool"]

APP = """
import os, signal, time
import numpy as np
from pathlib import Path
from fedtrack.client import ClientApp, FLModel
from fedtrack.tracking.writer import Writer

app = ClientApp()

def once():
    try:
        os.close(os.open("once", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

@app.train
def train(model, site):
    Writer().record_metric("loss", 1.0, 0)
    TRAIN
    return FLModel(params={"w": model.params["w"] + np.float32(site.index)}, metrics={"index": site.index})

@app.evaluate
def evaluate(model, site):
    return {"w": float(model.params["w"][0])}
"""

MODEL = {"w": np.zeros(3, np.float32)}
TRAIN = Task("train", MODEL, 0, 1)


class Bench:
    """An exchange, and what it has told."""

    def __init__(self, pool: SitePool, folder: Path, app: str, sites: int, workers: int, needed: int) -> None:
        self.workspace = Workspace(folder)
        self.names = [f"site-{n}" for n in range(1, sites + 1)]
        self.workspace.create(RunRecord("r", "job/j", 0), [])
        self.roster = Roster(self.names, needed, (), lambda site, reason: None)
        self.started: list[str] = []
        self.ended: list[str] = []
        self._app = app
        self._custom = folder / "custom"
        self.exchange = WorkerExchange(
            self.roster, 30.0, self.workspace, pool, self._spec, self._note, self.ended.append, workers
        )

    def _spec(self) -> WorkerSpec:
        folder = next_worker_folder(self.workspace.workers)
        self._custom.mkdir(exist_ok=True)
        return worker_spec(folder, self._app, custom=str(self._custom), total_sites=len(self.names))

    def _note(self, spec: WorkerSpec) -> None:
        self.started.append(spec.name)

    def ask(self, task: Task = TRAIN, sites: Sequence[str] | None = None) -> list[GroupAnswer]:
        return list(self.exchange.ask(task, self.names if sites is None else sites))


Make = Callable[..., Bench]


@pytest.fixture
def make(pool: SitePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(worker_exchange, "_POLL_SECONDS", 0.02)
    benches: list[Bench] = []

    def make(train: str = "pass", sites: int = 3, workers: int = 1, needed: int = 1, app: str = APP) -> Bench:
        folder = tmp_path / f"ws{len(benches)}"
        benches.append(Bench(pool, folder, app.replace("TRAIN", train), sites, workers, needed))
        return benches[-1]

    yield make
    for bench in benches:
        bench.workspace.close()


def values(answers: Sequence[GroupAnswer]) -> dict[str, list[float]]:
    """Return the averages of groups by their first site."""
    return {a.sites[0]: a.partial.tensors["w"][0].tolist() for a in answers if a.partial is not None}


def test_groups_and_their_averages_are_the_same_however_many_workers_there_are(make: Make) -> None:
    found = []
    for workers in (1, 2):
        answers = make(sites=70, workers=workers).ask()
        assert all(len(answer.sites) == 2 for answer in answers)
        assert sorted(s for answer in answers for s in answer.sites) == sorted(f"site-{n}" for n in range(1, 71))
        found.append(values(answers))
    assert found[0] == found[1]
    assert found[0]["site-1"] == [0.5] * 3


def test_an_answer_holds_what_each_site_sent_but_for_the_parameters(make: Make) -> None:
    bench = make()
    answers = bench.ask()
    models = {site: model for answer in answers for site, model in answer.models.items()}
    assert {site: model.metrics for site, model in models.items()} == {f"site-{n}": {"index": n - 1} for n in (1, 2, 3)}
    assert all((model.params, model.current_round) == (None, 0) for model in models.values())
    assert all(answer.size > 0 for answer in answers)
    assert list(bench.workspace.exchange.iterdir()) == []  # no model is left behind
    assert bench.exchange.waiting == set()


def test_a_task_without_training_brings_scores_and_no_average(make: Make) -> None:
    answers = make().ask(Task("validate", MODEL))
    assert [(answer.partial, answer.size) for answer in answers] == [(None, 0)] * 3
    assert answers[0].models[answers[0].sites[0]].metrics == {"w": 0.0}


def test_sites_that_have_failed_are_not_asked(make: Make) -> None:
    bench = make()
    bench.exchange.reject("site-2", RuntimeError("not usable"))
    assert sorted(site for answer in bench.ask() for site in answer.sites) == ["site-1", "site-3"]
    assert bench.ask(sites=["site-2"]) == []


def test_a_function_that_raises_fails_its_site_with_its_traceback(make: Make) -> None:
    bench = make("assert site.index != 1, 'bad data'")
    answers = bench.ask()
    assert sorted(site for answer in answers for site in answer.models) == ["site-1", "site-3"]
    error = bench.roster.failed["site-2"]
    assert str(error).startswith("site-2: the ClientApp raised AssertionError: bad data")
    assert "in task 'train'; its output is in" in str(error)
    assert "in train" in error.details


def test_a_job_ends_as_soon_as_too_few_are_left(make: Make) -> None:
    bench = make("assert site.index != 1", needed=3)
    with pytest.raises(JobError, match="2 of 3 sites are left, the job needs 3"):
        bench.ask()


def test_a_worker_that_is_killed_once_is_replaced_and_nobody_has_failed(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    bench = make("os.kill(os.getpid(), 9) if site.index == 1 and once() else None", sites=4)
    with caplog.at_level(logging.WARNING):
        answers = bench.ask()
    assert values(answers) == {f"site-{n}": [n - 1.0] * 3 for n in (1, 2, 3, 4)}
    assert bench.roster.failed == {}
    assert bench.ended == bench.started[:1]
    assert "was killed by SIGKILL; its output is in" in caplog.text
    assert "It was working for site-2 in task 'train'; its group of sites begins again." in caplog.text


def test_a_site_that_kills_two_workers_is_the_reason(make: Make) -> None:
    bench = make("os._exit(3) if site.index == 1 else None", sites=70)
    answers = {answer.sites: answer for answer in bench.ask()}
    assert list(bench.roster.failed) == ["site-2"]
    message = str(bench.roster.failed["site-2"])
    assert "2 workers died while working for it in task 'train'" in message
    assert "exited with status 3; its output is in" in message
    # The one beside it in the group has its answer all the same.
    assert list(answers["site-1", "site-2"].models) == ["site-1"]


def test_a_group_of_nobody_but_the_reason_is_answered_by_nothing(make: Make) -> None:
    answers = make("os._exit(3) if site.index == 1 else None").ask()
    (empty,) = [answer for answer in answers if answer.sites == ("site-2",)]
    assert (empty.models, empty.partial) == ({}, None)


def test_a_site_that_takes_too_long_fails_at_once_and_says_which_limit(make: Make) -> None:
    bench = make("time.sleep(600) if site.index == 1 else None")
    answers = bench.ask(Task("train", MODEL, 0, 1, timeout=0.5))
    assert sorted(site for answer in answers for site in answer.models) == ["site-1", "site-3"]
    message = "site-2: did not answer the task 'train' within 0.5 s; raise the limit if needed"
    assert str(bench.roster.failed["site-2"]) == message


def test_an_app_that_cannot_be_loaded_ends_the_job_with_its_reason(make: Make) -> None:
    bench = make(app="app = )")
    with pytest.raises(JobError, match="raised SyntaxError") as caught:
        bench.ask()
    assert caught.value.details.startswith('  File "')
    assert caught.value.details.endswith("SyntaxError: unmatched ')'\n")


def test_workers_that_die_again_and_again_at_no_site_end_the_job(make: Make) -> None:
    bench = make(app="import os; os._exit(7)")
    with pytest.raises(JobError, match="exited with status 7; its output is in"):
        bench.ask()
    assert len(bench.started) == 5


def test_log_calls_are_counted_by_site_also_where_a_worker_could_not_say(make: Make) -> None:
    bench = make("os.kill(os.getpid(), 9) if site.index == 1 and once() else None")
    bench.ask()
    bench.exchange.dismiss()
    assert sorted(bench.ended) == sorted(bench.started)
    # Of the one that was killed the journal says it: a stream that no worker has named.
    said = bench.exchange.goodbye("site-2")
    assert said is not None
    assert (said.stored, len(said.streams or ())) == (1, 1)


@pytest.mark.parametrize(("wanted", "sites", "expected"), [(4, 2, 2), (1, 9, 1), (4, 9, 4), (None, 1, 1)])
def test_there_are_no_more_workers_than_sites(wanted: int | None, sites: int, expected: int) -> None:
    assert worker_count(wanted, sites) == expected


def test_unless_told_there_is_a_worker_for_each_core_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 3, 5})
    assert worker_count(None, 100) == 3
