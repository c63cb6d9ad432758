"""Progress: a line for each round where nobody can see a bar, and every round is said before the end."""

from __future__ import annotations

from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from fedtrack.job.cross_site_eval import CrossSiteEval
from fedtrack.job.fedavg import FedAvg
from fedtrack_local import progress
from fedtrack_local.progress import Progress
from fedtrack_local.workflows.workflow import RoundResult


def result(number: int, sites: int = 2, **metrics: float) -> RoundResult:
    return RoundResult(number, metrics, tuple(f"site-{n}" for n in range(sites)), 1.25, 0)


class Run:
    """What progress looks at: a job of five rounds, a server and a journal of 1,234 events."""

    def __init__(self, sites: int = 2) -> None:
        self.server: Any = SimpleNamespace(rounds=[], waiting=set(), failed={})
        names = [SimpleNamespace(name=f"site-{n}") for n in range(1, sites + 1)]
        workflows = {"a": FedAvg(num_rounds=2), "b": FedAvg(num_rounds=3), "c": CrossSiteEval()}
        job = SimpleNamespace(sites=names, workflows=workflows, meta=SimpleNamespace(name="[red]job"))
        host = SimpleNamespace(journal=SimpleNamespace(total=lambda: 1234))
        self.receivers: list[str] = []
        self.active: Any = SimpleNamespace(job=job, host=host, waiting=lambda: self.receivers)

    def __call__(self) -> Progress:
        return Progress(self.active, self.server)


def test_what_runs_is_said_at_once_and_each_round_on_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.01)
    run = Run()
    with run():
        run.server.rounds.append(result(0, loss=0.5, auc=0.25))
        sleep(0.1)  # a few looks in between
        run.server.rounds.append(result(1, sites=1))
    out, err = capsys.readouterr()
    assert out == ""  # standard output is the scripts'
    assert err.splitlines() == [
        "Running [red]job with site-1, site-2",
        "round 0 (of 5): 2 sites, 1.2 s; received model: auc 0.2500, loss 0.5000",
        "round 1 (of 5): 1 site, 1.2 s",
    ]


def test_the_last_round_is_said_also_if_the_run_fails_right_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    run = Run()

    def fail() -> None:
        with run():
            run.server.rounds.append(result(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "round 0 (of 5)" in capsys.readouterr().err


def test_the_receivers_that_are_waited_for_are_said_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.01)
    run = Run()
    with run():
        run.receivers = ["mlflow (receive, 214 events)", "the receivers of site-1"]
        sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1:] == ["waiting for mlflow (receive, 214 events), the receivers of site-1"]


def test_thousands_of_sites_fit_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Run(sites=1000)():
        pass
    assert "with site-1, site-2, site-3, site-4 and 996 more" in capsys.readouterr().err


def test_a_terminal_shows_rounds_and_for_whom_the_server_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run()
    shown = run()
    shown._console = Console(force_terminal=True, width=150, file=None, record=True, stderr=True)
    monkeypatch.setattr(progress, "_POLL_SECONDS", 0.01)
    run.server.waiting = {"site-2", "site-1"}
    run.server.failed = {"site-9": None}
    assert shown._note() == "1,234 events, waiting for site-1, site-2, failed: site-9"
    with shown:
        run.server.rounds.append(result(0, loss=0.5))
    text = shown._console.export_text()
    assert "round 0 (of 5): 2 sites, 1.2 s; received model: loss 0.5000" in text
