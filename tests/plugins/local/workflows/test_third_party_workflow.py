"""A workflow of somebody else is placed, exported, shown, run, killed and resumed like one of ours."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from fedtrack import BaseFedJob, ScriptRunner, Workflow
from fedtrack.errors import ConfigError
from fedtrack.job import ModelPersistor
from fedtrack.job.load import load_job
from fedtrack.plugins import registry
from fedtrack_local import load_params
from support.relay import RELAY
from support.throwaway import Install, install, site

__all__ = ["install", "site"]

SERVER = "app_server/config/config_fed_server.json"

CLIENT = """
import time
from pathlib import Path
import fedtrack.client as flare
from fedtrack import Writer

flare.init()
writer = Writer()
while flare.is_running():
    model = flare.receive()
    writer.record_metric("w", float(model.params["w"][0]), model.current_round)
    while flare.get_site_name() == "site-2" and model.current_round == 1 and Path(HOLD).exists():
        Path(HOLD).with_name("held").touch()
        time.sleep(0.02)
    flare.send(flare.FLModel(params={"w": model.params["w"] * 2 + int(flare.get_site_name()[-1])}))
"""


@pytest.fixture
def folder(install: Install, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An exported job with the workflow Relay of an installed plugin."""
    install("fedtrack-relay", RELAY)
    monkeypatch.setenv("PYTHONPATH", str(site))  # for the processes that the test starts
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(CLIENT.replace("HOLD", repr(str(tmp_path / "hold"))))
    relay = importlib.import_module("fedtrack_relay").Relay
    job = BaseFedJob("relayed", analytics_receiver=False, key_metric="")
    job.site_names += ["site-1", "site-2", "site-3"]
    assert job.to_server(relay(laps=3)) == "controller"
    job.initial_model = {"w": np.ones(2)}
    job.to_server(ModelPersistor(), id="persistor")
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    return job.export_job(tmp_path / "jobs")


def fedtrack(*arguments: str | Path, code: int = 0) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "fedtrack", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == code, ended.stderr
    return ended.stdout + ended.stderr


def visits(workspace: Path) -> list[list[Any]]:
    state = msgspec.msgpack.decode((workspace / "server" / "simulate_job" / "workflow-states.msgpack").read_bytes())
    found: list[list[Any]] = state["controller"]["visits"]
    return found


def model(workspace: Path) -> Any:
    return load_params(workspace / "server" / "simulate_job" / "app_server" / "FL_global_model.safetensors")["w"]


def expected(laps: int) -> float:
    value = 1.0
    for _ in range(laps):
        for number in (1, 2, 3):
            value = value * 2 + number
    return value


def test_it_is_exported_and_shown_with_all_its_fields(folder: Path) -> None:
    (flow,) = json.loads((folder / SERVER).read_text())["workflows"]
    assert flow == {"id": "controller", "path": "Relay", "args": {"laps": 3, "last_site_first": False}}
    assert "workflow  controller: Relay laps=3" in fedtrack("job", "show", folder)
    assert re.search(r"^Relay +fedtrack-relay +1.0 +loaded +laps,last_site_first +The model", fedtrack(
        "workflows", "list"), re.MULTILINE)  # fmt: skip


def test_it_runs(folder: Path, tmp_path: Path) -> None:
    output = fedtrack("run", folder, "-w", tmp_path / "ws")
    assert "round 2 (of 3)" in output
    np.testing.assert_array_equal(model(tmp_path / "ws"), np.full(2, expected(3)))
    assert visits(tmp_path / "ws") == [[lap, f"site-{n}"] for lap in range(3) for n in (1, 2, 3)]


def test_killed_in_mid_run_it_goes_on_where_it_was(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    command = [sys.executable, "-m", "fedtrack", "run", str(folder), "-w", str(tmp_path / "ws")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "held").exists():
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    assert visits(tmp_path / "ws") == [[0, "site-1"], [0, "site-2"], [0, "site-3"], [1, "site-1"]]
    (tmp_path / "hold").unlink()

    assert registry().engine("local")().resume(tmp_path / "ws").status == "completed"

    np.testing.assert_array_equal(model(tmp_path / "ws"), np.full(2, expected(3)))
    assert visits(tmp_path / "ws") == [[lap, f"site-{n}"] for lap in range(3) for n in (1, 2, 3)]


def test_an_unknown_one_is_an_error_that_lists_what_there_is_and_how_to_get_it(folder: Path) -> None:
    text = (folder / SERVER).read_text()
    (folder / SERVER).write_text(text.replace('"Relay"', '"Relays"'))
    with pytest.raises(ConfigError) as caught:
        load_job(folder)
    message = str(caught.value)
    assert "$.workflows[0].path: No workflow is called 'Relays'; installed: CrossSiteEval, FedAvg, Relay." in message
    assert "pip install the distribution that has it" in message
    (folder / SERVER).write_text(text.replace('"laps"', '"lap"'))
    with pytest.raises(ConfigError, match="unknown field `lap`; valid arguments of Relay: laps, last_site_first"):
        load_job(folder)


def test_its_arguments_are_checked_where_a_job_gives_them(folder: Path) -> None:
    (folder / SERVER).write_text((folder / SERVER).read_text().replace('"laps": 3', '"laps": 0'))
    with pytest.raises(ConfigError, match=r"\$\.workflows\[0\]\.args: Expected `int` >= 1 - at `\$\.laps`"):
        load_job(folder)


def test_one_of_no_plugin_cannot_be_exported(folder: Path, tmp_path: Path) -> None:
    class Mine(Workflow):
        """Nobody's."""

    job = BaseFedJob("mine", analytics_receiver=False)
    job.to_server(Mine())
    job.to(ScriptRunner("client.py"), "site-1")
    with pytest.raises(ConfigError, match=r"Mine cannot be exported: .*installed: CrossSiteEval, FedAvg, Relay.*hook"):
        job.export_job(tmp_path / "jobs")
