"""The fork server ends as soon as nobody needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from time import monotonic, sleep

import pytest

from fedtrack.errors import ConfigError, JobError
from fedtrack.job import FedAvgJob
from fedtrack.job.initial_model import ModelRecipe
from fedtrack_local.models.params import load_params
from fedtrack_local.processes.fork_server import forget_torch_finalizers
from fedtrack_local.processes.fork_server_process import ForkServerProcess
from fedtrack_local.processes.sites import FromPool, SitePool

pytestmark = pytest.mark.slow

MODULE = """
import atexit, pathlib
pathlib.Path("imported").touch()
atexit.register(lambda: pathlib.Path("interpreter has ended").touch())
"""


def test_the_fork_server_does_not_wait_for_the_interpreters_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "with_exit_handler.py").write_text(MODULE)
    pool = SitePool()
    pool.preload(["with_exit_handler"])
    pool.close(grace_seconds=60)
    assert (tmp_path / "imported").exists()
    assert not (tmp_path / "interpreter has ended").exists()


def test_torchs_finalizers_are_not_the_childrens_and_others_are() -> None:
    def of_torch() -> None: ...

    of_torch.__module__ = "torch.library"
    torchs, other = weakref.finalize(of_torch, of_torch), weakref.finalize(of_torch, print)
    try:
        forget_torch_finalizers()
        assert (torchs.atexit, other.atexit) == (False, True)
    finally:
        torchs.detach()
        other.detach()


SLOW_TORCH = """
from pathlib import Path
from time import sleep
from types import SimpleNamespace

def warm(*arguments, **options):
    while not Path("go").exists():
        sleep(0.01)

zeros = lambda *arguments, **options: SimpleNamespace()
manual_seed = set_num_threads = lambda number: None
cuda = SimpleNamespace(is_available=None)
optim = SimpleNamespace(SGD=warm)
"""


def test_the_initial_model_is_there_before_torch_is_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    (tmp_path / "torch.py").write_text(SLOW_TORCH)
    (tmp_path / "model.py").write_text("import numpy as np\ndef net(n): return {'w': np.zeros(n)}\n")
    pool = SitePool()
    try:
        pool.preload(["torch"])
        pool.build_model(ModelRecipe(tmp_path / "model.py", "net", {"n": 3}), tmp_path / "m.safetensors")
        assert load_params(tmp_path / "m.safetensors")["w"].shape == (3,)
        assert not (tmp_path / "m.log").exists()
        (tmp_path / "go").touch()
        for _ in range(2):  # the end of its channel, and the notice that it is gone
            assert pool.wait(0.5) == []
        pool.end_sites()
    finally:
        pool.close(grace_seconds=60)


def test_a_builder_that_is_gone_when_its_word_is_read_has_built(tmp_path: Path) -> None:
    class Late(SitePool):
        def wait(self, timeout: float | None) -> list[FromPool]:
            sleep(1)  # by then both the word and the notice of the exit are there
            return super().wait(timeout)

    (tmp_path / "model.py").write_text("import numpy as np\ndef net(): return {'w': np.zeros(3)}\n")
    pool = Late()
    try:
        pool.build_model(ModelRecipe(tmp_path / "model.py", "net", {}), tmp_path / "m.safetensors")
        assert (tmp_path / "m.safetensors").exists()
    finally:
        pool.close()


def test_a_builder_that_is_killed_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import os\ndef net(): os.kill(os.getpid(), 9)\n")
    pool = SitePool()
    try:
        with pytest.raises(ConfigError, match="cannot be built"):
            pool.build_model(ModelRecipe(tmp_path / "model.py", "net", {}), tmp_path / "m.safetensors")
    finally:
        pool.close()


def test_a_fork_server_that_dies_is_reported_while_the_model_is_built(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import os, time\ndef net(): os.kill(os.getppid(), 9); time.sleep(60)\n")
    pool = SitePool()
    try:
        with pytest.raises(JobError, match="starts the sites was killed by SIGKILL"):
            pool.build_model(ModelRecipe(tmp_path / "model.py", "net", {}), tmp_path / "m.safetensors")
    finally:
        pool.close()


def test_a_job_that_is_not_valid_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Noted(ForkServerProcess):
        def __init__(self) -> None:
            super().__init__()
            started.append(self._process.pid)

    monkeypatch.setattr("fedtrack_local.processes.fork_server_process.ForkServerProcess", Noted)
    with pytest.raises(ConfigError):
        FedAvgJob(initial_model={}).simulator_run(tmp_path / "ws")
    (pid,) = started
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


INTERRUPTED = """
import sys
from fedtrack_local.processes.fork_server_process import ForkServerProcess

class Shown(ForkServerProcess):
    def __init__(self):
        super().__init__()
        print(self._process.pid, flush=True)

import fedtrack_local.processes.fork_server_process as module
module.ForkServerProcess = Shown

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "fedtrack_local.launch":
            import time
            time.sleep(60)

sys.meta_path.insert(0, Slow())
from fedtrack.job import FedAvgJob
FedAvgJob().simulator_run("ws")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_if_the_import_of_the_engine_is_interrupted(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout:
        pid = int(process.stdout.readline())
        process.send_signal(number)
        process.wait(10)
    deadline = monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert monotonic() < deadline
        sleep(0.05)
