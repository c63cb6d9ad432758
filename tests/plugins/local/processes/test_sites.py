"""SitePool with real processes: what a site says arrives before its end, and nonsense ends that site alone."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError, JobError
from fedtrack.job.initial_model import ModelRecipe
from fedtrack_local.models.params import load_params
from fedtrack_local.processes import sites
from fedtrack_local.processes.messages import EndRun, Exited, SiteLeft
from fedtrack_local.processes.sites import SitePool
from support.site_processes import collect, fork_server, pool, site_spec, until_exit

__all__ = ["fork_server", "pool"]

WAIT = "import fedtrack.client as flare\nflare.init()\nwhile flare.is_running(): pass\n"


def test_the_last_word_of_a_site_comes_before_its_end(pool: SitePool, tmp_path: Path) -> None:
    spec = site_spec(tmp_path, "")
    pool.start(spec)
    assert pool.is_alive(spec.name)
    pool._control.recv(1, socket.MSG_PEEK)  # both are there now, and the notice of its end is read first
    assert [type(event.message) for event in pool._from_fork_server()] == [SiteLeft, Exited]
    assert not pool.is_alive(spec.name)


def test_a_site_that_was_killed_says_by_what(pool: SitePool, tmp_path: Path) -> None:
    spec = site_spec(tmp_path, WAIT)
    pool.start(spec)
    pool.kill(spec.name, signal.SIGTERM)
    assert until_exit(pool, spec.name) == [Exited(spec.name, -signal.SIGTERM)]
    pool.kill(spec.name)  # a second time nothing is there to be killed
    pool.kill("nobody")


@pytest.mark.parametrize(
    "sending",
    [
        "channel.send_bytes(b'\\xff' * 1000)",
        "channel.send_bytes(b'')",
        "channel.send_bytes(b'\\x81\\xa4t\\xff\\xbepe\\xa4left')",
        "os.write(channel.fileno(), b'\\x7f\\xff\\xff\\xff')",
        "os.write(channel.fileno(), struct.pack('!iQ', -1, 2**63))",
        "os.write(channel.fileno(), b'\\0\\0\\0\\x64' + b'only a part')",
    ],
    ids=["garbage", "nothing", "no UTF-8", "2 GB announced", "8 EB announced", "stops in the middle"],
)
def test_what_is_no_message_ends_the_site_that_sent_it_and_no_other(
    sending: str, pool: SitePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "_MESSAGE_SECONDS", 1)
    script = f"""
    import os, struct, time
    from fedtrack.client import backend
    channel = backend.current()._channel
    {sending}
    time.sleep(600)
    """
    bad, good = site_spec(tmp_path / "bad", script), site_spec(tmp_path / "good", WAIT)
    pool.start(good)
    pool.start(bad)
    assert until_exit(pool, bad.name) == [Exited(bad.name, -signal.SIGKILL)]
    pool.send(good.name, EndRun())
    assert until_exit(pool, good.name)[-1] == Exited(good.name, 0)


def test_a_message_to_a_site_that_is_gone_is_no_error(pool: SitePool, tmp_path: Path) -> None:
    spec = site_spec(tmp_path, "import os; os.kill(os.getpid(), 9)")
    pool.start(spec)
    for _ in range(100):  # until its end has been read, the channel may be there and broken, or gone
        if not list(pool._links.get(spec.name, ())):
            break
        pool.send(spec.name, EndRun())
        pool.wait(0.05)
    assert not list(pool._links.get(spec.name, ()))


def test_a_model_is_built_where_it_may_import_what_it_likes(pool: SitePool, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import numpy as np\ndef net(n): print('built'); return {'w': np.zeros(n)}\n")
    pool.write_model(ModelRecipe(tmp_path / "model.py", "net", {"n": 3}), tmp_path / "m.safetensors")
    assert load_params(tmp_path / "m.safetensors")["w"].shape == (3,)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.safetensors", "model.py"]


def test_a_model_that_cannot_be_built_is_said_with_the_traceback(pool: SitePool, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def net(): return 1 / 0\n")
    with pytest.raises(ConfigError, match="cannot be built") as caught:
        pool.write_model(ModelRecipe(tmp_path / "model.py", "net", {}), tmp_path / "m.safetensors")
    assert "ZeroDivisionError: division by zero" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]


def test_a_fork_server_that_dies_is_the_end_of_the_job_and_shows_what_it_said(tmp_path: Path) -> None:
    lonely = SitePool()
    try:
        lonely._control.send(b"no message")
        with pytest.raises(
            JobError, match="starts the sites exited with status 1, and the sites ended with it"
        ) as caught:
            collect(lonely, lambda events: False)
        assert "msgspec.ValidationError" in caught.value.details
    finally:
        lonely.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_fork_server_that_is_killed_is_named_at_the_next_order(number: signal.Signals, tmp_path: Path) -> None:
    lonely = SitePool()
    lonely.log = tmp_path / "fork_server_log.txt"
    try:
        lonely.preload(["json"])
        os.kill(lonely._process._process.pid, number)
        lonely._process._process.wait(30)
        message = f"The process that starts the sites was killed by {number.name}, .*; its output is in {lonely.log}"
        for _ in range(2):
            with pytest.raises(JobError, match=message):
                lonely.start(site_spec(tmp_path, ""))
        lonely.kill("nobody")  # to kill what is gone is no error
    finally:
        lonely.close()
    assert lonely.log.read_text() == ""


def test_a_fork_server_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "selectors.py").write_text("raise RuntimeError('not the one of Python')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lonely = SitePool()
    try:
        lonely._process._process.wait(60)
        with pytest.raises(JobError, match="exited with status 1") as caught:
            lonely.preload(["json"])
    finally:
        lonely.close()
    assert "RuntimeError: not the one of Python" in caught.value.details
    assert str(tmp_path / "selectors.py") in caught.value.details
