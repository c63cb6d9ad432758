"""``fedtrack doctor``: its rows, its exit code, and no secret in what it prints."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fedtrack.cli.app import build_app


def test_the_exit_code_is_that_of_the_worst_and_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:s3cret-Pa55@127.0.0.1:1")
    done = CliRunner().invoke(build_app(), ["doctor", "--json"])
    assert done.exit_code == 1
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert rows["MLflow"]["level"] == "action"
    assert rows.keys() >= {
        "Python",
        "fedtrack",
        "plugin local",
        "log call",
        "state folder",
        "temporary folder",
        "clock",
    }
    shown = CliRunner().invoke(build_app(), ["doctor"]).output
    assert "to do: start it, or correct MLFLOW_TRACKING_URI" in shown
    assert shown.rstrip().endswith("action.")
    assert "s3cret-Pa55" not in done.output + shown
