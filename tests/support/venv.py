"""Virtual environments that are made for a test, with uv and without the network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[2]

#: Where each distribution's sources are.
MEMBERS = [
    ROOT / "core",
    ROOT / "examples",
    *sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml")),
    *sorted(path.parent for path in (ROOT / "examples").glob("third-party-*/pyproject.toml")),
]

Done: TypeAlias = subprocess.CompletedProcess[str]

#: Where the packages of the development environment are.
DEVELOPMENT = Path(sysconfig.get_path("purelib"))


def uv() -> str:
    """Return the uv that the Makefile uses: the one on the path, or the one that it has fetched."""
    return shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")


def run(*command: str | Path, cwd: Path | None = None, check: bool = True, timeout: float = 280, **env: str) -> Done:
    """Run a command without fedtrack's variables; its output is in the error if it fails."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("FEDTRACK_", "VIRTUAL_ENV"))} | env
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=timeout)
    assert not check or done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done


class Venv:
    """A virtual environment of this Python.

    Args:
        folder: Where it is created.
        cache: uv's cache for it; the user's, if None.
    """

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.folder = folder
        self._flags = ["--cache-dir", str(cache)] if cache else []
        run(uv(), "venv", "--quiet", "--no-project", *self._flags, "--python", sys.executable, folder)
        self.python = folder / "bin" / "python"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.site_packages = folder / "lib" / version / "site-packages"

    def see_development(self) -> None:
        """Let it import whatever the development environment has, fedtrack's own sources included."""
        line = f"import site; site.addsitedir({str(DEVELOPMENT)!r})\n"
        (self.site_packages / "_development.pth").write_text(line)

    def pip(self, *arguments: str | Path, cwd: Path | None = None, check: bool = True) -> Done:
        """Run ``uv pip`` for it, offline; in its own folder unless told otherwise."""
        command, *rest = arguments
        flags = ["--offline", "--no-config", *self._flags, "--python", str(self.python)]
        return run(uv(), "pip", command, *flags, *rest, cwd=cwd or self.folder, check=check)

    def run(self, *command: str, cwd: Path | None = None, check: bool = True, **env: str) -> Done:
        """Run its Python, in its own folder unless told otherwise."""
        return run(self.python, *command, cwd=cwd or self.folder, check=check, **env)
