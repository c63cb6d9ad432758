"""``fedtrack receivers check`` says at which step a receiver fails, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedtrack.cli import receiver_check
from fedtrack.cli.app import build_app
from support.throwaway import Install, receivers

SOURCE = """
from pathlib import Path
from fedtrack import Receiver, ReceiverOptions, Results, Transient, hookimpl
from fedtrack.tracking.records import Metric

class Options(ReceiverOptions):
    fault: str = ""
    password: str = ""

class CsvReceiver(Receiver):
    name = "csv"
    summary = "Rows."
    supports = frozenset({Metric})
    Options = Options

    def open(self, run):
        print("connecting")
        if self.options.fault == "away":
            raise Transient("connection refused")
        if self.options.fault == "hang":
            while True: ...
        if self.options.fault == "open":
            raise SystemExit("no such file")
        self.folder = run.folder
        assert run.folder.is_dir()

    def receive(self, batch): ...

    def close(self, status):
        if self.options.fault == "close":
            raise OSError("disk full")
        Path("closed").write_text(status)

    def results(self):
        return Results(str(self.folder))

@hookimpl
def fedtrack_receivers():
    return [CsvReceiver]
"""


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))


def check(name: str = "csv", args: str = "{}", exit_code: int = 0) -> dict[str, dict[str, Any]]:
    result = CliRunner().invoke(build_app(), ["receivers", "check", name, "--args", args, "--json"])
    assert result.exit_code == exit_code, result.output
    return {step["step"]: step for step in json.loads(result.stdout)}


def outcomes(steps: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: step["outcome"] for name, step in steps.items()}


def test_a_good_receiver_is_opened_and_closed(install: Install, tmp_path_factory: pytest.TempPathFactory) -> None:
    install("fedtrack-csv", SOURCE)
    steps = check()
    assert outcomes(steps) == {"load": "ok", "arguments": "ok", "open": "ok", "close": "ok"}
    assert steps["load"]["detail"] == "CsvReceiver of fedtrack-csv 1.0"
    with open("closed") as file:
        assert file.read() == "completed"


@pytest.mark.parametrize(
    ("fault", "step", "detail"),
    [
        ("away", "open", "the backend cannot be reached now: connection refused"),
        ("open", "open", "SystemExit: no such file"),
        ("close", "close", "OSError: disk full"),
    ],
)
def test_a_failing_step_is_named_and_close_always_runs(install: Install, fault: str, step: str, detail: str) -> None:
    install("fedtrack-csv", SOURCE)
    steps = check(args=json.dumps({"fault": fault}), exit_code=1)
    assert steps[step]["outcome"] == "failed"
    assert steps[step]["detail"].partition(" (")[0] == detail
    assert ("fedtrack_csv.py:" in steps[step]["detail"]) == (fault != "away")
    assert "close" in steps


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ('{"folder": 1}', "folder"),
        ('{"fault": 1}', "Expected `str`, got `int`"),
        ("[]", "is no JSON object"),
        ("{", "is no JSON object"),
        ('{"password": "hunter2-and-more"}', "${ENV:"),
        ('{"password": "${ENV:NO_SUCH_VARIABLE}"}', "NO_SUCH_VARIABLE"),
    ],
)
def test_wrong_arguments_are_named(install: Install, args: str, part: str) -> None:
    install("fedtrack-csv", SOURCE)
    steps = check(args=args, exit_code=1)
    assert outcomes(steps) == {"load": "ok", "arguments": "failed"}
    assert part in steps["arguments"]["detail"]


@pytest.mark.threat("T8")
def test_a_resolved_secret_is_not_shown(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fedtrack-csv", SOURCE)
    monkeypatch.setenv("CSV_PASSWORD", "hunter2")
    steps = check(args='{"password": "${ENV:CSV_PASSWORD}"}')
    assert outcomes(steps)["arguments"] == "ok"
    assert "hunter2" not in json.dumps(steps)


def test_a_receiver_that_cannot_be_loaded_is_reported_like_any_other_failure(install: Install) -> None:
    install("fedtrack-bad", "raise RuntimeError('no luck')")
    install("fedtrack-csv", receivers("csv", extra="requires = ('no_such_sdk',); install = 'pip install no-such-sdk'"))
    assert "RuntimeError: no luck" in check("bad", exit_code=1)["load"]["detail"]
    assert "no_such_sdk; install it with:" in check("csv", exit_code=1)["load"]["detail"]


def test_a_step_that_hangs_is_named_with_its_place(
    install: Install, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver_check, "STEP_SECONDS", 0.5)
    install("fedtrack-csv", SOURCE)
    steps = check(args='{"fault": "hang"}', exit_code=1)
    assert steps["open"]["outcome"] == "failed"
    assert "it took longer than 0.5 s" in steps["open"]["detail"]
    assert f"{site / 'fedtrack_csv.py'}:" in steps["open"]["detail"]
