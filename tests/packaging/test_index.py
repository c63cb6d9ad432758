"""The commands of the documentation as users type them: pip, in a clean environment, with a real index.

Deselected by default; run it with ``pytest -m network tests/packaging``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from support.venv import run

pytestmark = [pytest.mark.network, pytest.mark.xdist_group("packaging"), pytest.mark.timeout(1200)]


def pip_environment(folder: Path) -> Path:
    run(sys.executable, "-m", "venv", folder)
    return folder / "bin" / "python"


def states(python: Path, cwd: Path) -> dict[str, str]:
    listed = json.loads(run(python, "-m", "fedtrack", "receivers", "list", "--json", cwd=cwd).stdout)
    return {row["name"]: row["state"] for row in listed}


def test_pip_installs_an_extra_from_the_wheels(dist: Path, tmp_path: Path) -> None:
    python = pip_environment(tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", "--find-links", dist, "fedtrack[mlflow]", cwd=tmp_path, timeout=900)
    assert states(python, tmp_path) == {"mlflow": "loaded"}
    run(python, "-m", "pip", "check")
    checked = run(python, "-m", "fedtrack", "receivers", "check", "mlflow", cwd=tmp_path)
    assert checked.stdout.count(" ok ") == 4
    run(python, "-m", "pip", "uninstall", "--yes", "--quiet", "fedtrack-mlflow")
    assert states(python, tmp_path) == {}
