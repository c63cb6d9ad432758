"""The GPUs of a site; and CUDA is not started before the site's script starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError

from .conftest import MakeJob

pytestmark = pytest.mark.slow

SEE = """
import os, pathlib
pathlib.Path("seen").write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "everything"))
"""


def seen(workspace: Path, sites: int) -> list[str]:
    folder = workspace / "job" / "test-job"
    return [(folder / f"app_site-{n}" / "custom" / "seen").read_text() for n in range(1, sites + 1)]


@pytest.mark.parametrize("gpus", ["", "cuda:0"])
def test_what_names_no_gpu_is_refused_before_anything_is_touched(gpus: str, make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The GPUs .* are not valid; .*nvidia-smi -L"):
        make_job().simulator_run(tmp_path / "ws", gpu=gpus)
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("external", [False, True])
def test_sites_share_the_gpus_in_turn(external: bool, make_job: MakeJob, tmp_path: Path) -> None:
    job = make_job(SEE, n_clients=3, num_rounds=1, external=external)
    job.simulator_run(tmp_path / "ws", gpu="0,[2,3]")
    assert seen(tmp_path / "ws", 3) == ["0", "2,3", "0"]


def test_without_a_choice_every_site_sees_every_gpu(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    make_job(SEE, num_rounds=1).simulator_run(tmp_path / "ws")
    assert seen(tmp_path / "ws", 2) == ["everything"] * 2


#: Prints what the fork server has of CUDA once it has torch, and what an optimizer is told meanwhile.
PRELOADED = """
import sys
from fedtrack_local.processes.fork_server import preload, warm_up_torch
told = []
import torch
if "watch" in sys.argv:
    torch.cuda.is_available = lambda: True  # as on a machine with a GPU
    from torch.optim.optimizer import register_optimizer_step_pre_hook
    register_optimizer_step_pre_hook(lambda *_: told.append(torch.cuda.is_available()))
available = torch.cuda.is_available
if "preload" in sys.argv:
    preload("torch")
    warm_up_torch()
if "backward" in sys.argv:
    torch.zeros(1, requires_grad=True).sum().backward()
assert torch.cuda.is_available is available
print(torch.cuda.is_initialized(), torch.version.cuda is not None, told)
"""


def preloaded(folder: Path, *what: str) -> tuple[str, int]:
    """Return what PRELOADED prints, and how often the process has looked for CUDA's driver."""
    environment = {**os.environ, "LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": str(folder / "loader")}
    command = [sys.executable, "-c", PRELOADED, *what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    logs = list(folder.glob("loader.*"))
    found = sum(path.read_text(errors="replace").count("find library=libcuda.so") for path in logs)
    for path in logs:
        path.unlink()
    return done.stdout.strip(), found


@pytest.mark.skipif(sys.platform != "linux", reason="asks the dynamic loader of Linux")
def test_the_fork_server_never_starts_cuda(tmp_path: Path) -> None:
    said, imported = preloaded(tmp_path)
    if "True" not in said:
        pytest.skip("this torch was built without CUDA")
    _, trained = preloaded(tmp_path, "backward")
    assert trained > imported, "the loader's log no longer shows who starts CUDA"
    assert preloaded(tmp_path, "preload") == ("False True []", imported)


def test_an_optimizer_that_is_warmed_up_is_told_that_there_is_no_gpu(tmp_path: Path) -> None:
    said, _ = preloaded(tmp_path, "preload", "watch")
    assert said.endswith("[False]")
