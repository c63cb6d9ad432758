"""Jobs whose sites are functions: failures are contained, and nothing is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import JobError
from fedtrack.runs.replay import replay
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.verify import verify
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.records import Metric

from .virtual_jobs import MakeJob, model_of, summary_of

pytestmark = pytest.mark.slow


def test_function_that_raises_fails_its_site_alone(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = "if site.name in ('site-3', 'site-90'): raise ValueError(f'no data at {site.name}')"
    result = make_virtual_job(train, n_clients=100, min_clients=90).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [98, 98]
    assert "ValueError: no data at site-90" in result.sites["site-90"].error
    assert (result.sites["site-90"].logged, result.sites["site-90"].journaled) == (1, 1)
    weights = [1 + index % 3 for index in range(100) if index not in (2, 89)]
    values = [index + 1 for index in range(100) if index not in (2, 89)]
    np.testing.assert_allclose(model_of(tmp_path / "ws")["w"], 2 * np.average(values, weights=weights), rtol=1e-5)


def test_job_that_needs_all_sites_fails_with_the_traceback(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="site-3: the ClientApp raised ValueError: no data") as caught:
        make_virtual_job("if site.index == 2: raise ValueError('no data')").simulator_run(tmp_path / "ws")
    assert "client.py" in caught.value.details


def test_worker_that_is_killed_is_replaced_and_its_group_done_again(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = f"""
    site.state["tasks"] = site.state.get("tasks", 0) + 1
    assert site.state["tasks"] == model.current_round + 1  # also in the second attempt
    if site.name == "site-50" and not os.path.exists({str(tmp_path / "once")!r}):
        open({str(tmp_path / "once")!r}, "x").close()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    result = make_virtual_job(train, n_clients=70).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [70, 70]
    assert model_of(tmp_path / "ws")["n"] == 2
    # The attempt that was killed had logged: those calls had returned.
    group = [name for name, site in result.sites.items() if site.journaled == 3]
    assert "site-50" in group
    assert result.events_complete
    assert all(site.logged == site.journaled for site in result.sites.values())
    assert not [check for check in verify(StoredRun(tmp_path / "ws")) if check.problem]


def test_site_that_kills_its_workers_fails_and_the_others_go_on(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = "if site.name == 'site-9': os._exit(3)"
    result = make_virtual_job(train, n_clients=40, min_clients=30).simulator_run(tmp_path / "ws")
    assert [len(r.sites) for r in result.rounds] == [39, 39]
    assert "2 workers died while working for it" in result.sites["site-9"].error
    assert "status 3" in result.sites["site-9"].error
    assert result.events_complete


def test_site_that_takes_too_long_fails_and_the_others_go_on(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = "time.sleep(3600) if site.name == 'site-2' else None"
    result = make_virtual_job(train, n_clients=5, min_clients=4, task_timeout=1.0).simulator_run(tmp_path / "ws")
    assert result.rounds[1].sites == ["site-1", "site-3", "site-4", "site-5"]
    assert "did not answer the task 'train' within 1 s" in result.sites["site-2"].error


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        ("app = 3", "'app' is a int; it must be a fedtrack.client.ClientApp"),
        ("", "'app' has no such name"),
    ],
)
def test_app_that_cannot_be_loaded_fails_the_job_at_once(
    make_virtual_job: MakeJob, tmp_path: Path, app: str, reason: str
) -> None:
    with pytest.raises(JobError, match=reason):
        make_virtual_job(app=app).simulator_run(tmp_path / "ws")


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ("return {'w': 1}", "returned a dict; it must return an FLModel"),
        ("return FLModel(metrics={'a': 1.0})", "has no params"),
        ("return FLModel(params={'w': model.params['w']})", "site-1: the result lacks 'n'"),
        ("return FLModel(params={'w': model.params['w'] * np.nan, 'n': model.params['n']})", "holds nan"),
        ("return FLModel(params=model.params, meta={'NUM_STEPS_CURRENT_ROUND': 0})", "is 0; a weight"),
        ("return FLModel(params=model.params, meta={'x': object()})", "meta cannot be sent"),
        ("return FLModel(params=model.params, meta={'x': 'y' * 20_000})", "a site can send 8,192"),
        ("site.state['x'] = object()", "site.state .* cannot be kept"),
        ("flare.receive()", r"receive\(\) was called in a ClientApp"),
        ("sys.exit(5)", "SystemExit: 5"),
    ],
)
def test_what_a_function_must_not_do_is_named(
    make_virtual_job: MakeJob, tmp_path: Path, train: str, reason: str
) -> None:
    with pytest.raises(JobError, match=reason):
        make_virtual_job(train, n_clients=1).simulator_run(tmp_path / "ws")


def test_job_killed_between_rounds_is_resumed_with_its_states(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    train = """
    site.state["tasks"] = site.state.get("tasks", 0) + 1
    assert site.state["tasks"] == model.current_round + 1, (site.state, model.current_round)
    time.sleep(0.01)
    """
    job = make_virtual_job(train, n_clients=40, num_rounds=6)
    folder = job.export_job(tmp_path / "jobs")
    command = [sys.executable, "-m", "fedtrack", "run", str(folder), "-w", str(tmp_path / "ws")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rounds = tmp_path / "ws" / "server" / "simulate_job" / "rounds.msgpack"
    while not rounds.exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.1)  # into the next round
    process.send_signal(signal.SIGKILL)
    process.wait()
    command = [sys.executable, "-m", "fedtrack", "resume", str(tmp_path / "ws")]
    subprocess.run(command, check=True, capture_output=True)
    result = summary_of(tmp_path / "ws")
    assert [r.current_round for r in result.rounds] == list(range(6))
    assert model_of(tmp_path / "ws")["n"] == 6
    assert result.events_complete
    assert all(site.journaled >= 6 for site in result.sites.values())
    assert not [check for check in verify(StoredRun(tmp_path / "ws")) if check.problem]


def test_what_killed_workers_left_is_delivered_by_a_replay(make_virtual_job: MakeJob, tmp_path: Path) -> None:
    job = make_virtual_job("time.sleep(0.001)", n_clients=40, num_rounds=2)
    job.simulator_run(tmp_path / "ws")
    stored = StoredRun(tmp_path / "ws")
    spool = SharedSpool(stored.workers / "worker-9" / "spool")
    for number in range(5):
        spool.enter("site-7")
        spool.append(Metric(1, "late", float(number)))
    spool.close()
    inventory = tally_of(stored)
    assert inventory.sites["@worker-9"].in_spool == 5
    assert not inventory.complete
    done = replay(stored)
    assert done.journaled["site-7"] == 2 + 5
    assert tally_of(stored).sites["site-7"].journaled == 7
