"""JsonProgress: each round, failure and wait is one line of JSON, and the end is the last one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import pytest

from fedtrack import RunResult
from fedtrack.delivery import ReceiverTally
from fedtrack.job.fedavg import FedAvg
from fedtrack.output import PROGRESS_STYLE, ProgressStyle
from fedtrack_local import json_progress
from fedtrack_local.presentation import show_end, shown_progress
from fedtrack_local.workflows.workflow import RoundResult

HOSTILE = "job \x1b[2J \u202e"


@pytest.fixture
def server() -> Any:
    return SimpleNamespace(rounds=[], waiting=set(), failed={})


@pytest.fixture
def active(server: Any) -> Any:
    """What the progress looks at: a job of two rounds and a journal of 1,234 events."""
    sites = [SimpleNamespace(name=name) for name in ("a", "b")]
    job = SimpleNamespace(sites=sites, workflows={"w": FedAvg(num_rounds=2)}, meta=SimpleNamespace(name=HOSTILE))
    host = SimpleNamespace(journal=SimpleNamespace(total=lambda: 1234))
    return SimpleNamespace(job=job, host=host, info=SimpleNamespace(run_id="r1"), waiting=lambda: ["mlflow"])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def style(request: pytest.FixtureRequest) -> Any:
    token = PROGRESS_STYLE.set(request.param)
    yield request.param
    PROGRESS_STYLE.reset(token)


def ended(tmp_path: Path) -> RunResult:
    receivers = {"mlflow": ReceiverTally("mlflow", "server", 3, addressed=3)}
    return RunResult("r1", HOSTILE, "completed", "", tmp_path, tmp_path, 2.0, [], {}, None, {}, receivers, [])


@pytest.mark.parametrize("style", [ProgressStyle.JSON_LINES], indirect=True)
def test_what_happens_is_a_line_each(
    style: ProgressStyle, active: Any, server: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with shown_progress(active, server):
        server.rounds.append(RoundResult(0, {"loss": 0.5, "bad": math.nan}, ("a", "b"), 1.25, 10, 4.0))
        sleep(2 * json_progress._POLL_SECONDS)
        server.failed["b"] = RuntimeError(HOSTILE)
        server.rounds.append(RoundResult(1, {}, ("a",), 1.0, 10))
    show_end(ended(tmp_path))
    found = lines(capsys)
    assert [line["event"] for line in found] == ["started", "round", "waiting", "site_failed", "round", "ended"]
    assert found[0] == {"event": "started", "job": HOSTILE, "run_id": "r1", "rounds": 2, "sites": 2}
    assert found[1]["metrics"] == {"loss": 0.5, "bad": None}  # NaN is no JSON
    assert (found[1]["round"], found[1]["sites"], found[1]["events"], found[1]["steps"]) == (0, 2, 1234, 4.0)
    assert (found[3]["site"], found[3]["error"]) == ("b", HOSTILE)
    assert (found[4]["round"], found[4]["sites"], found[4]["failed"]) == (1, 1, 1)
    assert (found[5]["status"], found[5]["events_complete"], found[5]["folder"]) == (
        "completed",
        True,
        str(ended(tmp_path).run),
    )
    assert found[5]["receivers"]["mlflow"]["delivered"] == 3


@pytest.mark.parametrize("style", [ProgressStyle.QUIET], indirect=True)
def test_a_quiet_run_shows_nothing(
    style: ProgressStyle, active: Any, server: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with shown_progress(active, server):
        server.rounds.append(RoundResult(0, {}, ("a",), 1.0, 10))
    show_end(ended(tmp_path))
    assert capfd.readouterr() == ("", "")
