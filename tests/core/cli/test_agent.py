"""``fedtrack agent``: what it says is true of an outbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import fedtrack
from fedtrack.cli.app import build_app
from fedtrack.connection import agent_lock, connected_run
from fedtrack.connection.outbox import Outbox

pytest.importorskip("httpx2")


def said(outbox: Path) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["agent", "--folder", str(outbox)])
    return result.exit_code, result.output


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An outbox with seven events, for a collector that does not listen."""
    monkeypatch.setattr(connected_run, "start", lambda box: None)
    place = tmp_path / "outbox"
    run = fedtrack.connect("http://127.0.0.1:9", site="a", run="r", token="ft_1_x", outbox=place)  # noqa: S106
    for step in range(7):
        run.log({"loss": 1.0}, step=step)
    run.finish(timeout=0)
    return place


def test_an_empty_outbox(tmp_path: Path) -> None:
    assert said(tmp_path) == (0, f"{tmp_path} holds no run.\n")


def test_without_a_token_the_events_are_left_and_it_says_why(outbox: Path) -> None:
    for site in Outbox(outbox).runs()[0].sites():
        site.forget_token()
    code, text = said(outbox)
    assert code == 1
    assert "r: sending 7 events of a to http://127.0.0.1:9" in text
    assert "r: 7 events are left: it has no token" in text


def test_an_agent_that_is_there_already_is_not_called_a_missing_token(
    outbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_lock, "_TURN_SECONDS", 0.0)
    (run,) = Outbox(outbox).runs()
    with agent_lock.turn(run.lock) as mine:
        assert mine
        code, text = said(outbox)
    assert (code, "another agent is sending them already" in text, "token" in text) == (0, True, False)
