"""The page of hooks, the hookspecs and the calls that a real job makes are the same."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.plugins import hookspecs
from support.throwaway import Install, install, site
from support.venv import ROOT

__all__ = ["install", "site"]

PAGE = (ROOT / "docs" / "plugins" / "hooks.md").read_text()
SPECS: dict[str, Any] = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("fedtrack_")}

#: What a new thing is called on the page is not called in a docstring.
SECTIONS = dict(re.findall(r"^### `(fedtrack_\w+)[^\n]*\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


def documented(spec: Any) -> tuple[str, dict[str, str]]:
    """Return a docstring's first sentence and its arguments."""
    text, _, arguments = (inspect.getdoc(spec) or "").partition("\n\nArgs:\n")
    found: dict[str, str] = {}
    for name, what in re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", arguments, re.MULTILINE):
        found[name] = " ".join(what.split())
    return " ".join(text.split()), found


def test_every_hook_is_on_the_page_and_no_other() -> None:
    assert set(SECTIONS) == set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_the_page_has_the_signature_the_moment_and_the_arguments(name: str) -> None:
    signature = f"{name}{inspect.signature(SPECS[name])}".replace("'", "")
    assert f"### `{signature}`\n" in PAGE
    moment, arguments = documented(SPECS[name])
    assert moment.startswith("Called ")
    assert SECTIONS[name].strip().startswith(moment)
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", SECTIONS[name], re.MULTILINE))
    assert rows == {argument: what.replace("``", "`") for argument, what in arguments.items()}
    assert list(rows) == list(inspect.signature(SPECS[name]).parameters)


FOLLOWER = """
import json
from pathlib import Path
from fedtrack import hookimpl

def note(name, **arguments):
    shown = {{}}
    for key, value in arguments.items():
        shown[key] = str(getattr(value, "job_name", getattr(value, "params", value)))
    with Path({log!r}).open("a") as file:
        file.write(json.dumps([name, shown]) + "\\n")
"""

CLIENT = """
import fedtrack.client as flare

flare.init()
while flare.is_running():
    model = flare.receive()
    if flare.get_site_name() == "site-2" and model.current_round == 1:
        raise RuntimeError("out of memory")
    flare.send(flare.FLModel(params=model.params, metrics={"accuracy": 0.5}))
"""


def follower(log: Path) -> str:
    """Return a plugin that implements every reporting hook with all of its arguments, and writes its calls down."""
    source = FOLLOWER.format(log=str(log))
    for name, spec in SPECS.items():
        arguments = list(inspect.signature(spec).parameters)
        if "run" in arguments:
            passed = ", ".join(f"{argument}={argument}" for argument in arguments)
            source += f"\n@hookimpl\ndef {name}({', '.join(arguments)}):\n    note({name!r}, {passed})\n"
    return source


def test_a_job_calls_the_hooks_in_the_order_on_the_page(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "calls.jsonl"
    install("fedtrack-follower", follower(log))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(CLIENT)
    job = FedAvgJob(
        {"w": np.zeros(2, np.float32)},
        n_clients=2,
        num_rounds=2,
        name="followed",
        min_clients=1,
        analytics_receiver=False,
    )
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    job.simulator_run(tmp_path / "ws")

    calls = [json.loads(line) for line in log.read_text().splitlines()]
    assert {arguments["run"] for _, arguments in calls} == {"followed"}
    short = [
        " ".join([name.removeprefix("fedtrack_"), arguments.get("current_round", "")]) for name, arguments in calls
    ]
    assert short[:5] == ["job_started ", "round_started 0", "result_received ", "result_received ", "round_ended 0"]
    assert short[5] == "round_started 1"
    assert sorted(short[6:8]) == ["result_received ", "site_failed "]
    assert short[8:] == ["round_ended 1", "job_ended "]
    by_name = dict(calls)
    assert by_name["fedtrack_site_failed"]["site"] == "site-2"
    assert "out of memory" in by_name["fedtrack_site_failed"]["error"]
    assert by_name["fedtrack_job_ended"]["status"] == "completed"
    assert by_name["fedtrack_result_received"]["model"] == "None", "a hook could hold a model's parameters"


def test_the_diagram_names_what_a_job_calls() -> None:
    (diagram,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    drawn = re.findall(r"fedtrack_\w+", diagram)
    reporting = [name for name, spec in SPECS.items() if "run" in inspect.signature(spec).parameters]
    assert [*drawn, "fedtrack_event_fired"] == reporting
