"""Jobs that fail on the local engine: the messages to the user, and the remaining files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError, JobError, WorkspaceError
from fedtrack.runs.result import RunResult
from fedtrack_local.workflows.fedavg import FedAvg

from .conftest import MakeJob

pytestmark = pytest.mark.slow

ONLY_SITE_1 = "if flare.get_site_name() == 'site-1' and model.current_round == 1:"


def summary_of(workspace: Path) -> RunResult:
    return RunResult.load(workspace / "server" / "simulate_job" / "run_summary.json")


def test_script_that_raises_fails_the_job_with_its_traceback(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(f"{ONLY_SITE_1} raise ValueError('no data here')")
    with pytest.raises(JobError, match="site-1: the training script raised ValueError: no data here") as caught:
        job.simulator_run(tmp_path / "ws")
    assert "client.py" in caught.value.details
    result = summary_of(tmp_path / "ws")
    assert result.status == "failed"
    assert result.sites["site-1"].journaled == 100  # logged before it raised


def test_killed_site_loses_nothing_that_it_logged(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(f"{ONLY_SITE_1} import os; os.kill(os.getpid(), 9)")
    with pytest.raises(JobError, match="site-1: the process was killed by SIGKILL in task 'train'"):
        job.simulator_run(tmp_path / "ws")
    assert summary_of(tmp_path / "ws").sites["site-1"].journaled == 100


def test_job_goes_on_with_min_clients(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(f"{ONLY_SITE_1} raise ValueError('gone')", min_clients=1)
    result = job.simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    assert [r.sites for r in result.rounds] == [["site-1", "site-2"], ["site-2"]]
    assert "ValueError: gone" in result.sites["site-1"].error


def test_mandatory_site_is_needed_whatever_min_clients_says(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(f"{ONLY_SITE_1} raise ValueError('gone')", min_clients=1, mandatory_clients=["site-1"])
    with pytest.raises(JobError, match="mandatory_clients"):
        job.simulator_run(tmp_path / "ws")


def test_script_that_ends_without_a_result_is_named(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("raise SystemExit(0)")
    with pytest.raises(JobError, match="ended without sending a result for task 'train'"):
        job.simulator_run(tmp_path / "ws")


def test_script_that_never_sends_ends_in_a_named_timeout(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("import time; time.sleep(600)", task_timeout=1.0)
    with pytest.raises(JobError, match=r"did not answer the task 'train' of round 0 within 1 s \(task_timeout\)"):
        job.simulator_run(tmp_path / "ws")


def test_site_without_sign_of_life_is_failed(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("import time; time.sleep(600)", idle_timeout=1.0)
    with pytest.raises(JobError, match="idle_timeout"):
        job.simulator_run(tmp_path / "ws")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("model.params['extra'] = model.params['w']", "site-[12]: .*extra"),
        (
            "model.params = {'w': model.params['w'][:1]}",
            r"site-[12]: tensor 'w' is float32 \(1, 3\), expected .*\(2, 3\)",
        ),
        ("model.params = {'w': model.params['w'] * float('nan')}", "site-[12]: tensor 'w' holds nan"),
        ("model.params = {'w': [1.0]}", "site-[12]: .*TypeError"),
    ],
)
def test_unusable_result_names_site_and_tensor(make_job: MakeJob, tmp_path: Path, train: str, message: str) -> None:
    with pytest.raises(JobError, match=message):
        make_job(train).simulator_run(tmp_path / "ws")


def test_bad_weight_is_refused(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job("flare.send(flare.FLModel(params=model.params, meta={'NUM_STEPS_CURRENT_ROUND': -1})); continue")
    with pytest.raises(JobError, match="NUM_STEPS_CURRENT_ROUND"):
        job.simulator_run(tmp_path / "ws")


@pytest.mark.parametrize("n_clients", [0, -1, True, 1.5])
def test_number_of_sites_is_checked(make_job: MakeJob, n_clients: object) -> None:
    with pytest.raises(ConfigError, match="n_clients is"):
        make_job(n_clients=n_clients)


def test_missing_script_starts_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job()
    (tmp_path / "client.py").unlink()
    with pytest.raises(ConfigError, match=r"'client\.py' does not exist"):
        job.simulator_run(tmp_path / "ws")
    assert not (tmp_path / "ws" / "server").exists()


def test_workspace_that_cannot_be_a_folder(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be used"):
        make_job().simulator_run(tmp_path / "file")


JOB = """
import numpy as np, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from fedtrack.errors import report_errors
from fedtrack.job import FedAvgJob, ScriptRunner
job = FedAvgJob(initial_model={"w": np.zeros(3, np.float32)}, n_clients=2, name="j", analytics_receiver=False)
job.to_clients(ScriptRunner("client.py", framework="numpy"))
with report_errors():
    job.simulator_run(sys.argv[1])
"""


def start(tmp_path: Path) -> subprocess.Popen[str]:
    (tmp_path / "job.py").write_text(JOB)
    return subprocess.Popen(
        [sys.executable, "job.py", str(tmp_path / "ws")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # as a shell does: Ctrl-C goes to this group
    )


def wait_for_pids(tmp_path: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pids = [int(path.read_text() or 0) for path in tmp_path.glob("pid-*")]
        if len(pids) == 2 and all(pids):
            return pids
        time.sleep(0.05)
    raise AssertionError("the sites did not start")


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def wait_until_gone(pids: list[int], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if is_running(pid)] == []


SLEEPER = """
import os, pathlib, time
(pathlib.Path(TMP) / f"pid-{flare.get_site_name()}").write_text(str(os.getpid()))
if os.fork() == 0:
    time.sleep(600)
time.sleep(600)
"""


@pytest.fixture
def sleeping_job(make_job: MakeJob, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    make_job(SLEEPER.replace("TMP", repr(str(tmp_path))))
    with start(tmp_path) as process:
        yield process
        process.kill()


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_stops_everything(
    sleeping_job: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    sites = wait_for_pids(tmp_path)
    everything = children(sleeping_job.pid)
    assert set(sites) < set(everything)
    started = time.monotonic()
    os.killpg(sleeping_job.pid, number)
    output, _ = sleeping_job.communicate(timeout=30)
    assert time.monotonic() - started < 15.0  # within 5 s, where nothing else runs
    assert sleeping_job.returncode == 130
    wait_until_gone(everything, 1.0)
    assert "Traceback (most recent call last)" not in output
    result = summary_of(tmp_path / "ws")
    assert (result.status, result.sites["site-1"].journaled) == ("aborted", 50)


def test_killed_server_leaves_no_process(sleeping_job: subprocess.Popen[str], tmp_path: Path) -> None:
    wait_for_pids(tmp_path)
    everything = children(sleeping_job.pid)
    sleeping_job.kill()
    sleeping_job.communicate()
    wait_until_gone(everything, 10.0)


def test_second_server_on_a_workspace_is_refused(
    sleeping_job: subprocess.Popen[str], make_job: MakeJob, tmp_path: Path
) -> None:
    wait_for_pids(tmp_path)
    with pytest.raises(WorkspaceError, match=f"in use by the process {sleeping_job.pid}"):
        make_job().simulator_run(tmp_path / "ws")
    sleeping_job.send_signal(signal.SIGINT)
    sleeping_job.communicate(timeout=30)


def test_fedavg_checks_its_arguments() -> None:
    with pytest.raises(ConfigError, match="num_rounds is 0"):
        FedAvg(num_rounds=0)
