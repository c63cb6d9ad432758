"""A worker's process: what it is told, what it says when it leaves, and why it could not begin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedtrack_local.processes.messages import EndRun, Exited, RunSites, SiteFailed, SiteLeft, SitesDone
from fedtrack_local.processes.sites import SitePool
from support.site_processes import collect, fork_server, pool, until_exit, worker_spec

__all__ = ["fork_server", "pool"]

APP = """
import atexit, os
from fedtrack.client import ClientApp
from fedtrack.tracking.writer import Writer

app = ClientApp()
atexit.register(lambda: Writer().record_metric("at_exit", 1.0, 0))

@app.evaluate
def evaluate(model, site):
    Writer().record_metric("loss", 1.0, 0)
    print("scored", os.environ["CUDA_VISIBLE_DEVICES"], os.getcwd())
    return {"threads": int(os.environ.get("OMP_NUM_THREADS", "0"))}
"""


def order(name: str = "validate") -> RunSites:
    return RunSites(1, 0, name, "", "", [("site-1", 0), ("site-2", 1)], 0, 1, {})


def test_a_worker_answers_and_says_when_it_leaves_what_was_logged_until_the_very_end(
    pool: SitePool, tmp_path: Path
) -> None:
    spec = worker_spec(tmp_path, APP, environment={"CUDA_VISIBLE_DEVICES": "1"})
    pool.start(spec)
    pool.send(spec.name, order())
    (done,) = [event.message for event in collect(pool, len)]
    assert isinstance(done, SitesDone)
    assert done.logged == {"site-1": 1, "site-2": 1}
    pool.send(spec.name, EndRun())
    left, exited = until_exit(pool, spec.name)
    assert isinstance(left, SiteLeft)
    assert (left.logged, left.dropped, len(left.streams)) == (3, 0, 1)
    assert exited == Exited(spec.name, 0)
    assert (tmp_path / "log.txt").read_text().count(f"scored 1 {tmp_path}") == 2


@pytest.mark.parametrize(
    ("chosen", "expected"), [({}, os.environ.get("OMP_NUM_THREADS", "3")), ({"OMP_NUM_THREADS": "2"}, "2")]
)
def test_tensors_get_the_threads_of_the_spec_unless_the_user_has_chosen(
    chosen: dict[str, str], expected: str, pool: SitePool, tmp_path: Path
) -> None:
    spec = worker_spec(tmp_path, APP, threads=3, environment={"CUDA_VISIBLE_DEVICES": ""} | chosen)
    pool.start(spec)
    pool.send(spec.name, order())
    (done,) = [event.message for event in collect(pool, len)]
    assert isinstance(done, SitesDone)
    assert done.results[0].metrics == {"threads": float(expected)}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        ("import sys; sys.exit('no data')", "SystemExit: no data"),
        ("app = 3", "ConfigError: app.py: 'app' is a int; it must be a fedtrack.client.ClientApp."),
        ("", "ConfigError: app.py: 'app' has no such name; it must be a fedtrack.client.ClientApp."),
        ("app = (", "SyntaxError"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_said_to_the_server_and_in_the_log(
    script: str, reason: str, pool: SitePool, tmp_path: Path
) -> None:
    spec = worker_spec(tmp_path, script)
    pool.start(spec)
    failed, exited = until_exit(pool, spec.name)
    assert isinstance(failed, SiteFailed)
    assert failed.error.startswith(reason)
    assert failed.traceback.startswith('  File "' if reason == "SyntaxError" else "Traceback")
    assert failed.traceback in (tmp_path / "log.txt").read_text()
    assert exited == Exited(spec.name, 1)


def test_a_worker_whose_server_is_gone_ends(tmp_path: Path) -> None:
    lonely = SitePool()
    try:
        spec = worker_spec(tmp_path, APP)
        lonely.start(spec)
        next(iter(lonely._links[spec.name])).close()
        lonely._selector.close()
        message = lonely._control.recv(4096)
    finally:
        lonely.close()
    assert b"exited" in message
    assert spec.name.encode() in message
