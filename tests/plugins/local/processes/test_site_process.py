"""A site's process: what its script finds there, and what is left behind when it ends, however it ends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from fedtrack_local.processes.messages import EndRun, Exited, SiteFailed, SiteLeft
from fedtrack_local.processes.site_process import command_line
from fedtrack_local.processes.sites import SitePool
from support.site_processes import collect, fork_server, pool, site_spec, until_exit

__all__ = ["fork_server", "pool"]

LOOK = """
import json, os, random, signal, sys
import numpy as np
import fedtrack.client as flare
from pathlib import Path

flare.init()
seen = {
    "argv": sys.argv, "cwd": os.getcwd(), "name": __name__, "site": flare.get_site_name(), "job": flare.get_job_id(),
    "stdin": sys.stdin.read(), "own group": os.getpgid(0) == os.getpid(), "variable": os.environ.get("OWN"),
    "ctrl-c": signal.getsignal(signal.SIGINT) is signal.SIG_DFL, "beside": __import__("beside").NAME,
    "drawn": [random.random(), np.random.random()], "config": flare.get_config(),
}
Path("seen.json").write_text(json.dumps(seen))
"""


@pytest.mark.parametrize(
    ("external", "script", "appended"),
    [
        (["python3", "-u"], "client.py", True),
        (["python3", "-m", "client"], "client.py", False),
        (["python3", "-m", "nets.client"], "client.py", False),
        (["torchrun", "-m", "nets"], "__main__.py", False),
        (["python3", "-m", "wrap"], "client.py", True),
        (["python3", "-m", "torch.distributed.run"], "client.py", True),
        (["python3", "-m", "other.client"], "client.py", True),
        (["-m"], "client.py", True),
    ],
)
def test_a_script_that_the_command_starts_as_a_module_is_not_named_twice(
    external: list[str], script: str, appended: bool, tmp_path: Path
) -> None:
    (tmp_path / "nets").mkdir()
    for file in ("client.py", "wrap.py", "nets/client.py", "nets/__main__.py"):
        (tmp_path / file).touch()
    path = str(tmp_path / script)
    spec = site_spec(tmp_path, "", external=external, args=["--lr", "1"])
    spec.script = path
    found = command_line(spec)
    assert found == [*external, *([path] if appended else []), "--lr", "1"]


@pytest.mark.parametrize("external", [False, True], ids=["forked", "external"])
def test_a_script_finds_what_it_would_find_on_its_own(external: bool, pool: SitePool, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NAME = 'beside'")
    command = [sys.executable, "-u"] if external else []
    spec = site_spec(tmp_path, LOOK, args=["--lr", "0.1"], external=command, environment={"OWN": "1"}, config={"k": 1})
    pool.start(spec)
    assert until_exit(pool, spec.name)[-1] == Exited(spec.name, 0), (tmp_path / "log.txt").read_text()
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen.pop("drawn") is not None
    assert (seen.pop("ctrl-c") or external) is True
    assert seen == {
        "argv": [spec.script, "--lr", "0.1"],
        "cwd": str(tmp_path),
        "name": "__main__",
        "site": spec.name,
        "job": "r",
        "stdin": "",
        "own group": True,
        "variable": "1",
        "beside": "beside",
        "config": {"k": 1},
    }


def test_sites_of_one_fork_server_draw_different_numbers(pool: SitePool, tmp_path: Path) -> None:
    drawn = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "beside.py").write_text("NAME = 'beside'")
        spec = site_spec(tmp_path / name, LOOK)
        pool.start(spec)
        until_exit(pool, spec.name)
        drawn.append(json.loads((tmp_path / name / "seen.json").read_text())["drawn"])
    assert not set(drawn[0]) & set(drawn[1])


@pytest.mark.parametrize(
    ("script", "status", "log"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no data')", 1, "no data"),
        ("import os; os._exit(5)", 5, ""),
        ("raise RuntimeError('bad data')", 1, "RuntimeError: bad data"),
    ],
)
def test_the_status_of_the_process_is_the_scripts(
    script: str, status: int, log: str, pool: SitePool, tmp_path: Path
) -> None:
    spec = site_spec(tmp_path, script)
    pool.start(spec)
    assert until_exit(pool, spec.name)[-1] == Exited(spec.name, status)
    assert log in (tmp_path / "log.txt").read_text()


def test_a_script_that_raises_says_why_and_still_how_much_it_logged(pool: SitePool, tmp_path: Path) -> None:
    script = "from fedtrack.tracking.writer import Writer\nWriter().record_metric('x', 1.0, 0)\nraise KeyError('é')"
    spec = site_spec(tmp_path, script)
    pool.start(spec)
    failed, left, _ = until_exit(pool, spec.name)
    assert isinstance(failed, SiteFailed)
    assert isinstance(left, SiteLeft)
    assert (failed.error, left.logged) == (f"KeyError: 'é' ({spec.script}:3)", 1)
    assert "client.py" in failed.traceback


def test_threads_and_exit_handlers_log_before_the_site_leaves(pool: SitePool, tmp_path: Path) -> None:
    script = """
    import atexit, threading, time
    from fedtrack.tracking.writer import Writer
    def late():
        time.sleep(0.2)
        Writer().record_metric("thread", 1.0, 0)
    threading.Thread(target=late).start()
    atexit.register(lambda: Writer().record_metric("at_exit", 1.0, 0))
    """
    spec = site_spec(tmp_path, script)
    pool.start(spec)
    left, _ = until_exit(pool, spec.name)
    assert left.logged == 2


def test_what_a_script_has_started_ends_with_it(pool: SitePool, tmp_path: Path) -> None:
    script = """
    import subprocess
    from pathlib import Path
    child = subprocess.Popen(["sleep", "600"])
    Path("pid").write_text(str(child.pid))
    """
    spec = site_spec(tmp_path, script)
    pool.start(spec)
    until_exit(pool, spec.name)
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    deadline = monotonic() + 10
    while stat.exists() and ") Z " not in stat.read_text():
        assert monotonic() < deadline
        sleep(0.01)


def test_its_files_are_private(pool: SitePool, tmp_path: Path) -> None:
    spec = site_spec(tmp_path, "from fedtrack.tracking.writer import Writer\nWriter().record_metric('x', 1.0, 0)")
    pool.start(spec)
    until_exit(pool, spec.name)
    modes: dict[str, Any] = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "spool").iterdir()}
    assert set(modes.values()) == {0o600}
    assert (tmp_path / "log.txt").stat().st_mode & 0o777 == 0o600


def test_a_command_that_does_not_exist_is_a_failure_that_the_log_explains(pool: SitePool, tmp_path: Path) -> None:
    spec = site_spec(tmp_path, "", external=["no-such-python"])
    pool.start(spec)
    assert until_exit(pool, spec.name) == [Exited(spec.name, 1)]
    said = f"{spec.name}: the command 'no-such-python' cannot be started: No such file or directory; give ScriptRunner"
    assert said in (tmp_path / "log.txt").read_text()


def test_when_the_fork_server_is_killed_the_kernel_ends_its_sites(tmp_path: Path) -> None:
    lonely = SitePool()
    try:
        spec = site_spec(tmp_path, "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)")
        lonely.start(spec)
        deadline = monotonic() + 60
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert monotonic() < deadline
            sleep(0.01)
        os.kill(lonely._process._process.pid, 9)
        stat = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
        while stat.exists() and ") Z " not in stat.read_text():
            assert monotonic() < deadline
            sleep(0.01)
    finally:
        lonely.close()


def test_an_external_process_takes_part_like_any_other(pool: SitePool, tmp_path: Path) -> None:
    script = """
    import fedtrack.client as flare
    from fedtrack.tracking.writer import Writer
    flare.init()
    Writer().record_metric("x", 1.0, 0)
    while flare.is_running():
        pass
    """
    spec = site_spec(tmp_path, script, external=[sys.executable])
    pool.start(spec)
    pool.send(spec.name, EndRun())
    events = collect(pool, lambda events: len(events) >= 2)
    left = events[0].message
    assert isinstance(left, SiteLeft)
    assert left.logged == 1
