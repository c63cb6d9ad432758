"""A script that ends in any way is explained to its author: the reason, the file and line, and the path of the log."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fedtrack.errors import JobError
from fedtrack.job import ClientAppRunner, FedAvgJob, ScriptRunner
from fedtrack.runs.result import RunResult

pytestmark = pytest.mark.slow


class Way(NamedTuple):
    """One way to fail.

    Attributes:
        code: What the script does; line 1 is `fail.py:FIRST`.
        error: What the message says about it.
        line: The line of ``code``, from 1, at which the place is; 0 if there is no place.
        log: What the log says.
    """

    code: str
    error: str
    line: int = 0
    log: str = ""


WAYS = {
    "import-error": Way("import no_such_module_here", "ModuleNotFoundError: No module named 'no_such", 1),
    "value-error": Way("int('three')", "ValueError: invalid literal for int() with base 10: 'three'", 1),
    "group": Way("raise ExceptionGroup('g', [OSError('a'), OSError('b')])", "the first is OSError: a", 1, "OSError: b"),
    "chain": Way(
        "try:\n        {}['k']\n    except KeyError as e:\n        raise RuntimeError('after') from e",
        "RuntimeError: after",
        4,
        "KeyError: 'k'",
    ),
    "ctrl-c": Way("raise KeyboardInterrupt", "KeyboardInterrupt", 1),
    "unpicklable": Way("raise Locked('shut')", "Locked: shut", 1),
    "languages": Way("raise ValueError('нет данных 数据 \\udcff')", "ValueError: нет данных 数据 \\udcff", 1),
    "long": Way("raise ValueError('line\\n' * 10_000)", "ValueError: line (", 1),
    "pool": Way("multiprocessing.Pool(1).map(int, ['x'])", "ValueError: invalid literal", 1, "RemoteTraceback"),
    "exit-text": Way("sys.exit('no data: mount /data')", "SystemExit: no data: mount /data", 1, "mount /data"),
    "exit-3": Way("os._exit(3)", "exited with status 3"),
    "killed": Way("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
}

FAIL = """import multiprocessing, os, signal, sys
class Locked(Exception):
    def __reduce__(self):
        raise TypeError("cannot be pickled")
def syntax():
    open("broken.py", "w").write("a = 1\\nb = (\\n")  # the export of a job refuses such a file
    __import__("broken")
def way_0(): pass
"""

SCRIPT = """
import fedtrack.client as flare
from fail import WAYS

flare.init()
while flare.is_running():
    model = flare.receive()
    WAYS.get(flare.get_site_name(), lambda: None)()
    flare.send(flare.FLModel(params=model.params, metrics={"accuracy": 1.0}))
"""

APP = """
import fedtrack.client as flare
from fail import WAYS

app = flare.ClientApp()

@app.train
def train(model, site):
    WAYS.get(site.name, lambda: None)()
    return flare.FLModel(params=model.params)
"""


def needs_torch() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")


def write_files(folder: Path) -> dict[str, int]:
    """Write fail.py, and return the first line of each way in it."""
    text, lines = FAIL, {}
    for number, (name, way) in enumerate(WAYS.items(), start=1):
        text += f"def way_{number}():\n"
        lines[name] = text.count("\n") + 1
        text += f"    {way.code}\n"
    ways = ", ".join(["syntax", *(f"way_{number}" for number in range(1, len(WAYS) + 1))])
    text += f"WAYS = dict(zip((f'site-{{number}}' for number in range(1, 99)), [{ways}]))\n"
    (folder / "fail.py").write_text(text)
    return lines


def job_of(runner: ScriptRunner | ClientAppRunner, n_clients: int = 1) -> FedAvgJob:
    settings: dict[str, object] = {"n_clients": n_clients, "num_rounds": 1, "min_clients": 1}
    initial = {"w": np.zeros(2, np.float32)}
    job = FedAvgJob(initial_model=initial, name="ways", analytics_receiver=False, key_metric="", **settings)
    job.to_clients(runner)
    return job


@pytest.mark.parametrize("kind", ["forked", "external", "virtual"])
def test_every_way_to_fail_is_explained(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = write_files(tmp_path)
    (tmp_path / "client.py").write_text(APP if kind == "virtual" else SCRIPT)
    runner = (
        ClientAppRunner("client.py", framework="numpy", workers=2)
        if kind == "virtual"
        else ScriptRunner("client.py", framework="numpy", launch_external_process=kind == "external")
    )
    result = job_of(runner, len(WAYS) + 2).simulator_run(tmp_path / "ws")
    healthy = f"site-{len(WAYS) + 2}"
    assert result.rounds[0].sites == [healthy]
    assert result.sites[healthy].error == ""
    for number, (name, way) in enumerate(WAYS.items(), start=2):
        error = result.sites[f"site-{number}"].error
        if (name, kind) == ("exit-text", "external"):
            assert "exited with status 1" in error  # of another process, only the status is known; the log has it
        else:
            assert way.error in error, name
            if way.line:
                assert re.search(rf"custom/fail\.py:{lines[name] + way.line - 1}\)", error), error
        log_file = re.search(r"its output is in (\S+?\.txt)", error)
        assert log_file is not None, error
        log = Path(log_file[1]).read_text()
        assert way.log in log, name
        assert not re.search(r'File ".*(fedtrack_local|runpy)', log), log[-3000:]
    assert "SyntaxError: '(' was never closed" in result.sites["site-1"].error
    assert "custom/broken.py:2)" in result.sites["site-1"].error
    shown = caplog.text
    assert shown.count("int('three')\n") == 1, "each traceback is shown once"
    assert "mount /data" in shown
    assert shown.count("line\n") < 5_000, "a long message is cut"


def test_an_exception_in_a_thread_is_shown_when_no_result_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(
        "import threading\nimport fedtrack.client as flare\nflare.init()\nflare.receive()\n"
        "thread = threading.Thread(target=lambda: int('three'))\nthread.start()\nthread.join()\n"
    )
    with pytest.raises(JobError, match="ended without sending a result for task 'train'; its output is in") as caught:
        job_of(ScriptRunner("client.py", framework="numpy")).simulator_run(tmp_path / "ws")
    assert 'client.py", line 5, in <lambda>' in caught.value.details


def test_an_exception_in_a_data_loaders_worker_shows_the_workers_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_torch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(
        "import torch\nimport fedtrack.client as flare\nflare.init()\nflare.receive()\n"
        "class Data(torch.utils.data.Dataset):\n    def __len__(self): return 4\n"
        "    def __getitem__(self, index): raise OSError('unreadable image')\n"
        "for batch in torch.utils.data.DataLoader(Data(), num_workers=1): pass\n"
    )
    with pytest.raises(JobError, match="worker process 0") as caught:
        job_of(ScriptRunner("client.py")).simulator_run(tmp_path / "ws")
    assert "OSError: unreadable image (" in str(caught.value)
    assert "custom/client.py:8)" in str(caught.value)
    assert 'client.py", line 7, in __getitem__' in caught.value.details


JOB = """
from fedtrack import FedAvgJob, ScriptRunner
import numpy as np
job = FedAvgJob(name="raising", n_clients=1, num_rounds=1, initial_model={"w": np.zeros(2, np.float32)})
job.to_clients(ScriptRunner("client.py", framework="numpy"))
job.export_job("exported") if EXPORT else job.simulator_run("ws")
"""


@pytest.mark.parametrize("way", ["job.py", "job.py with torch", "fedtrack run", "fedtrack submit"])
def test_the_traceback_of_the_script_is_shown_once_however_it_was_started(way: str, tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text(
        "import fedtrack.client as flare\nflare.init()\nflare.receive()\nint('three')\n"
    )
    start = "import torch\n" if way.endswith("torch") else ""
    if start:
        needs_torch()

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    (tmp_path / "job.py").write_text(start + JOB.replace("EXPORT", str(way.startswith("fedtrack"))))
    ended = python("job.py")
    if way.startswith("fedtrack"):
        assert ended.returncode == 0, ended.stderr
        command = ["run", "exported/raising", "-w", "ws"]
        if way == "fedtrack submit":
            command = ["submit", "exported/raising", "--target", "ws"]
        ended = python("-m", "fedtrack", *command)
    shown = ended.stdout + ended.stderr
    if way == "fedtrack submit":
        assert ended.returncode == 0, shown
        handle = ended.stdout.strip()
        (tmp_path / "run.json").write_text(handle)
        ended = python("-m", "fedtrack", "runs", "wait", "run.json")
        [log] = (tmp_path / "ws" / "submissions").glob("*.log")
        assert "ValueError: invalid literal" in ended.stdout + ended.stderr
        assert re.search(r"its output is in \S+/ws/(?:runs/1/)?site-1/\S+/log\.txt", ended.stdout + ended.stderr)
        shown = log.read_text()
    assert ended.returncode == 1
    assert len(re.findall(r"client\.py\", line 4, in <module>\n", shown)) == 1, shown
    assert "ValueError: invalid literal for int() with base 10: 'three' (" in shown
    assert len(re.findall(r'File ".*/fedtrack(_local)?/', shown)) == (1 if way.startswith("job.py") else 0), shown


def test_a_process_that_dies_after_the_last_task_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(
        "import os\nimport fedtrack.client as flare\nflare.init()\nwhile flare.is_running():\n"
        "    flare.send(flare.FLModel(params=flare.receive().params))\nos._exit(7)\n"
    )
    job = job_of(ScriptRunner("client.py", framework="numpy"))
    assert job.simulator_run(tmp_path / "ws").status == "completed"
    assert "site-1: its script exited with status 7 after its last task; its output is in" in caplog.text
    assert isinstance(RunResult.load(tmp_path / "ws" / "server" / "simulate_job" / "run_summary.json"), RunResult)
