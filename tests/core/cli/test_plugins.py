"""``fedtrack plugins new``: a project where the user wants it, and never over something else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.plugins import remedy
from support.command_line import fedtrack


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["receiver", "writer", "hooks"])
def test_a_project_is_written_with_the_commands_that_come_next(kind: str) -> None:
    shown = fedtrack("plugins", "new", "ring", "--kind", kind).splitlines()
    assert shown == [
        "Wrote fedtrack-ring. Next:",
        "  cd fedtrack-ring",
        f"  {remedy.install_here('-e', '.[dev]')}",
        "  pytest && mypy && ruff check",
        "  fedtrack plugins list",
    ]
    files = list(Path("fedtrack-ring").rglob("*.py"))
    assert files
    for path in files:
        ast.parse(path.read_text())


def test_it_goes_where_the_user_says() -> None:
    fedtrack("plugins", "new", "fedtrack-ring", "--dir", "here/there")
    assert (Path("here") / "there" / "pyproject.toml").exists()
    with pytest.raises(ConfigError, match="here/there"):
        fedtrack("plugins", "new", "ring", "--dir", "here/there")


@pytest.mark.parametrize("name", ["Ring", "ring_x", "-ring", "mlflow"])
def test_a_name_that_cannot_be_taken_writes_nothing(name: str) -> None:
    with pytest.raises(ConfigError):
        fedtrack("plugins", "new", "--", name)
    assert list(Path().iterdir()) == []


def test_an_unknown_kind_is_told_which_there_are() -> None:
    fedtrack("plugins", "new", "ring", "--kind", "engine", exit_code=2)
