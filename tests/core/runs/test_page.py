"""The page at the end of a run: what is not there is said, and in the words of every other screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.delivery.report import ReceiverTally
from fedtrack.runs.page import print_summary
from fedtrack.runs.result import RunResult
from fedtrack.runs.tally import SiteTally


def page(capsys: pytest.CaptureFixture[str], sites: dict[str, SiteTally], *receivers: ReceiverTally) -> list[str]:
    result = RunResult(
        run_id="r1",
        job_name="job",
        status="completed",
        error="",
        workspace=Path("/ws"),
        folder=Path("/ws/server/simulate_job"),
        seconds=1.0,
        rounds=[],
        final_metrics={},
        best_round=None,
        sites=sites,
        receivers={receiver.label: receiver for receiver in receivers},
        gaps=[],
    )
    print_summary(result)
    return [line.replace("│", "").rstrip() for line in capsys.readouterr().out.splitlines()]


def columns(lines: list[str], first: str) -> list[str]:
    return next(line.split() for line in lines if line.split()[:1] == [first])


def test_a_run_of_which_everything_is_there_has_few_columns(capsys: pytest.CaptureFixture[str]) -> None:
    receiver = ReceiverTally("mlflow", "site-1", 40, {}, 0, 0, id="own", skipped_total=0, addressed=40)
    lines = page(capsys, {"site-1": SiteTally(40, 40, in_spool=0, lost=0)}, receiver)
    assert columns(lines, "site-1") == ["site-1", "40", "40"]
    assert columns(lines, "mlflow") == ["mlflow", "site-1/own", "40", "40"]
    assert not [line for line in lines if line.startswith(("Lost", "Note", "Pending"))]


def test_what_is_lost_dropped_and_unknown_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    sites = {
        "site-1": SiteTally(1_040, 1_000, dropped=7, in_spool=0, lost=40),
        "site-2": SiteTally(None, 3, dropped=None, in_spool=0),
    }
    lines = page(capsys, sites, ReceiverTally("mlflow", "server", 990, {"text": 2}, 1, 10, "down", id="mlflow"))
    assert columns(lines, "site-1") == ["site-1", "1,040", "1,000", "7", "40"]
    assert columns(lines, "site-2") == ["site-2", "?", "3", "?", "?"]
    assert columns(lines, "mlflow") == ["mlflow", "mlflow", "990", "2", "1", "10", "1,003"]
    for said in (
        "Lost:        site-1: 40 events were logged, and are in no spool and no journal.",
        "Lost:        site-1: 7 log calls found no room in its spool.",
        "Note:        site-2 has not reported its number of log calls; stored ones are not lost.",
        "Not held:    mlflow: mlflow cannot hold 2 text.",
        "Pending:     mlflow: 10 events are not delivered, but kept in the journal: down",
    ):
        assert said in lines
