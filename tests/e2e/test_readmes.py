"""Every shell block of the READMEs is run unchanged, with three exceptions.

* Commands that a test must not run are left out, each with its reason: see ``LEFT_OUT``.
* Folders in the user's home become folders of the test.
* A job runs one round instead of five, and servers get a free port and are stopped once they answer.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "fedtrack_examples"
BINARIES = Path(sys.executable).parent

LEFT_OUT = {
    "make": "runs the demo and the tests, of which this is one",
    "pip": "needs the network; tests/packaging installs the same distributions from wheels",
    "uv": "likewise",
    "prepare-data cifar10": "downloads 170 MB; the path itself is tested on generated images",
    "--mode online": "needs an account; tests/plugins/wandb does it against a stand-in",
    "http://127.0.0.1:5000": "needs a server; tests/plugins/mlflow delivers to a real one",
    "--dataset cifar10": "needs the download",
}

README_FILES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted(EXAMPLES.glob("hello-*/README.md"))]


def commands_of(readme: Path) -> list[str]:
    blocks = re.findall(r"^```bash\n(.*?)^```", readme.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line.partition("#")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def is_left_out(command: str) -> bool:
    first, *_ = command.split()
    return first in LEFT_OUT or any(key in command for key in LEFT_OUT if not key.isalpha())


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home folder with a few pictures in it."""
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(20):
            image = Image.fromarray(pixels.integers(0, 255, (32, 32, 3), dtype=np.uint8))
            image.save(tmp_path / "pictures" / name / f"{number}.png")
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def adapted(command: str, home: Path) -> list[str]:
    words = [word.replace("$HOME", str(home)).replace("~", str(home)) for word in shlex.split(command)]
    if words[0] in ("python", ".venv/bin/python"):
        words[0] = sys.executable
    if words[0] in ("fedtrack", ".venv/bin/fedtrack"):
        words[:1] = [sys.executable, "-m", "fedtrack"]
    if any(word.endswith("job.py") for word in words) or ("examples" in words and "run" in words):
        words += ["--", "--num-rounds", "1"] if "examples" in words and "--" not in words else []
        words += [] if "--num-rounds" in words else ["--num-rounds", "1"]
        if not {"-w", "--workspace", "-e", "--export-config"} & set(words):
            words += ["--workspace", f"{home}/.local/state/fedtrack/jobs/workdir"]
        if {"-e", "--export-config"} & set(words) and "--job-root" not in words:
            words += ["--job-root", f"{home}/.local/state/fedtrack/jobs"]
    if "run" in words and not {"examples", "-w", "--workspace"} & set(words):
        words += ["-w", f"{home}/.local/state/fedtrack/jobs/workdir"]
    return words


def serve_until_it_answers(words: list[str], cwd: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words[0] = str(BINARIES / words[0])
    command = [*words, "--host", "127.0.0.1", "--port", str(port)]
    with (cwd / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 200
        while not answers(port):
            assert process.poll() is None, (cwd / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.3)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its own group: a server starts workers
        process.wait()


def answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/", timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.mark.parametrize("readme", README_FILES, ids=lambda path: str(path.parent.name))
def test_every_command_works(readme: Path, home: Path) -> None:
    # The root README's commands start from a clone, an example's from wherever the user is.
    cwd = ROOT if readme.parent == ROOT else home
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", f"{home}/.cache")}
    environment.pop("XDG_STATE_HOME", None)
    commands = [command for command in commands_of(readme) if not is_left_out(command)]
    assert commands
    for command in commands:
        words = adapted(command, home)
        if words[0] == "cd":
            cwd = cwd / words[1]
        elif words[0] in ("mlflow", "tensorboard"):
            # Starting MLflow's server takes the longest of all; one README's command stands for the others.
            if words[0] == "tensorboard" or readme.parent.name == "hello-pt-mlflow":
                serve_until_it_answers(words, cwd)
        else:
            done = subprocess.run(
                words, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=240
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
