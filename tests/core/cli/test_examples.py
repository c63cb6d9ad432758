"""``fedtrack examples``: what is installed is listed, and copied whole, and nothing of the user's is overwritten."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError, PluginError
from support.command_line import fedtrack
from support.throwaway import Install, site

__all__ = ["site"]

PLUGIN = """
from pathlib import Path
from fedtrack import hookimpl
from fedtrack.plugins.example import Example

@hookimpl
def fedtrack_examples():
    return [Example("ring", "One after the other.", Path({folder!r}))]
"""

JOB = "import sys, os; print('ran', sys.argv[1:], os.path.basename(sys.argv[0])); sys.exit(3)"


@pytest.fixture
def example(install: Install, tmp_path: Path) -> Path:
    folder = tmp_path / "ring"
    (folder / "deep" / "__pycache__").mkdir(parents=True)
    (folder / "deep" / "__pycache__" / "x.pyc").touch()
    (folder / "deep" / "client.py").write_text("x = 1")
    (folder / "job.py").write_text(JOB)
    install("fedtrack-ring", PLUGIN.format(folder=str(folder)))
    return folder


def test_it_is_listed_with_its_folder(example: Path) -> None:
    (row,) = [row for row in json.loads(fedtrack("examples", "list", "--json")) if row["name"] == "ring"]
    assert row == {
        "name": "ring", "summary": "One after the other.", "package": "fedtrack-ring", "folder": str(example)
    }  # fmt: skip


@pytest.mark.usefixtures("example")
def test_a_copy_is_whole_and_holds_nothing_that_was_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert fedtrack("examples", "copy", "ring") == "Copied to ring; run it with: python ring/job.py\n"
    copied = {str(path.relative_to("ring")) for path in Path("ring").rglob("*") if path.is_file()}
    assert copied == {"job.py", "deep/client.py"}


@pytest.mark.usefixtures("example")
def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").touch()
    fedtrack("examples", "copy", "ring", str(tmp_path / "mine"))  # an empty one may be there
    (tmp_path / "mine" / "job.py").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(ConfigError, match=rf"{tmp_path / name} exists and is not an empty folder; choose another"):
            fedtrack("examples", "copy", "ring", str(tmp_path / name))
    assert (tmp_path / "mine" / "job.py").read_text() == "mine"


@pytest.mark.usefixtures("example")
def test_an_unknown_example_is_told_which_there_are() -> None:
    for command in ("run", "copy"):
        with pytest.raises(PluginError, match=r"No example is called 'nope'; installed: .*ring"):
            fedtrack("examples", command, "nope")


def test_a_run_is_the_job_itself_with_its_arguments_and_its_code(example: Path, site: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from fedtrack.cli import main\n"
        "sys.argv = ['fedtrack', 'examples', 'run', 'ring', '--', '--lr', '0.1']\nmain()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (3, "ran ['--lr', '0.1'] job.py\n"), ended.stderr
