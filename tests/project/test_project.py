"""Rules for the repository itself."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_pins_of_pip_and_uv_are_equal() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert (ROOT / "constraints.txt").read_text().split("\n")[:-1] == project["tool"]["uv"]["constraint-dependencies"]


def test_pins_name_no_host() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()


SHIPPED = ("core/src/**/*.py", "plugins/*/src/**/*.py", "examples/**/*.py")


def unsafe_parts(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            found += [f"{node.lineno}: imports {name}" for name in names & {"pickle", "dill", "cloudpickle", "marshal"}]
        if isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            if call in ("eval", "exec", "torch.load", "yaml.load", "tempfile.mktemp"):
                found.append(f"{node.lineno}: calls {call}")
            for keyword in node.keywords:
                if keyword.arg in ("shell", "allow_pickle") and ast.unparse(keyword.value) == "True":
                    found.append(f"{node.lineno}: {keyword.arg}=True")
    return found


@pytest.mark.threat("T4")
def test_nothing_unsafe_is_shipped(tmp_path: Path) -> None:
    control = tmp_path / "control.py"
    control.write_text("import pickle\neval('1')\nrun('x', shell=True)\n")
    assert len(unsafe_parts(control)) == 3
    found = {str(path): unsafe_parts(path) for pattern in SHIPPED for path in ROOT.glob(pattern)}
    assert {path: parts for path, parts in found.items() if parts} == {}


def test_first_party_versions_are_equal() -> None:
    projects = [ROOT / "core", ROOT / "examples", *sorted((ROOT / "plugins").iterdir())]
    versions = {tomllib.loads((p / "pyproject.toml").read_text())["project"]["version"] for p in projects}
    assert len(versions) == 1
