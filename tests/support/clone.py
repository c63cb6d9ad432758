"""A fresh clone of this working tree, and what somebody does with one: with pip or uv, on any Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.venv import ROOT, Done, run, uv

#: "here" is the Python that runs the tests; another one is skipped where it is not installed.
INTERPRETERS = ("here", "3.11", "3.12", "3.13")


def make_clone(folder: Path) -> Path:
    """Put what git tracks here, and what it would track, into a repository of its own."""
    listed = run("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    who = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "Clone")):
        run("git", *command, cwd=folder)
    return folder


def interpreter(version: str) -> str:
    """Return an installed Python, of the path or of pyenv; skip the test if there is none."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version == "here":
        return sys.executable
    if version == here:
        pytest.skip(f"{version} is the Python that runs the tests")
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python{version}"))):
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(found)
    pytest.skip(f"there is no Python {version}")


class Environment:
    """A virtual environment as pip's or uv's users have it: uv's has no pip.

    Args:
        folder: Where it is created.
        installer: ``pip`` or ``uv``.
        version: One of INTERPRETERS.
    """

    def __init__(self, folder: Path, installer: str, version: str) -> None:
        self.folder = folder
        self.installer = installer
        python = interpreter(version)
        if installer == "pip":
            run(python, "-m", "venv", folder)
        else:
            run(uv(), "venv", "--quiet", "--no-project", "--python", python, folder)
        self.python = folder / "bin" / "python"

    def install(self, *words: str | Path, cwd: Path) -> None:
        """Install as the installer's users do."""
        pip = [uv(), "pip"] if self.installer == "uv" else ["pip"]
        self.call(*pip, "install", "--quiet", *words, cwd=cwd)

    def call(self, *words: str | Path, cwd: Path, check: bool = True) -> Done:
        """Run a command as after the environment's activation."""
        path = os.pathsep.join([str(self.folder / "bin"), str(Path(uv()).parent), os.environ["PATH"]])
        search = {"PATH": path, "VIRTUAL_ENV": str(self.folder)}
        # The path decides which program it is; subprocess would look on this process's own.
        program = shutil.which(str(words[0]), path=path) or words[0]
        return run(program, *words[1:], cwd=cwd, check=check, timeout=500, **search)

    def requirements(self) -> list[str]:
        """Return what fedtrack's own distributions ask for, one requirement each."""
        lines = []
        for metadata in self.folder.glob("lib/python3*/site-packages/fedtrack*.dist-info/METADATA"):
            head = metadata.read_text().partition("\n\n")[0]
            lines += [line for line in head.splitlines() if line.startswith("Requires-Dist:")]
        assert lines
        return lines


def write_plugin(folder: Path) -> Path:
    """Write the wheel of somebody else's plugin, which asks for a range of fedtracks."""
    wheel = folder / "fedtrack_other-1-py3-none-any.whl"
    inside = "fedtrack_other-1.dist-info"
    files = {
        "fedtrack_other.py": "",
        f"{inside}/METADATA": "Metadata-Version: 2.1\nName: fedtrack-other\nVersion: 1\nRequires-Dist: fedtrack>=0.1\n",
        f"{inside}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{inside}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{inside}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return wheel
