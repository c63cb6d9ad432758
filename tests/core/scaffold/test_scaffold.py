"""A new plugin, unchanged, can be installed and passes its own tests, its type check and its linter."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from fedtrack.errors import ConfigError
from fedtrack.scaffold import KINDS, write_project
from support.relay import RELAY
from support.throwaway import Install, receivers
from support.venv import Venv

pytestmark = [pytest.mark.xdist_group("scaffold"), pytest.mark.slow]


class Installed(NamedTuple):
    """A project as it was written, and an environment that it is installed in."""

    kind: str
    project: Path
    venv: Venv


@pytest.fixture(scope="module", params=KINDS)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A new plugin of each kind."""
    folder = tmp_path_factory.mktemp(request.param)
    project = write_project("my-own", request.param, folder / "project")
    venv = Venv(folder / "venv")
    venv.see_development()
    venv.pip("install", "--no-index", "--no-deps", "--editable", project)
    return Installed(request.param, project, venv)


def test_a_new_project_passes_its_own_tests(installed: Installed) -> None:
    kind, project, venv = installed
    output = venv.run("-m", "pytest", "-p", "no:cacheprovider", cwd=project).stdout
    passed = re.search(r"(\d+) passed", output)
    assert passed, output
    assert int(passed[1]) >= {"receiver": 25, "writer": 4, "workflow": 5, "hooks": 2}[kind]


def test_a_new_project_is_typed_and_tidy(installed: Installed) -> None:
    _, project, venv = installed
    # One cache for all kinds, since each reads the whole of core.
    venv.run("-m", "mypy", "--cache-dir", project.parents[1] / "mypy", cwd=project)
    venv.run("-m", "ruff", "check", "--no-cache", cwd=project)
    venv.run("-m", "ruff", "format", "--check", "--no-cache", cwd=project)
    assert (project / "src" / "fedtrack_my_own" / "py.typed").exists()
    assert "my-own" in (project / "README.md").read_text()


def test_a_new_project_is_in_the_list(installed: Installed) -> None:
    kind, _, venv = installed
    listed = json.loads(venv.run("-m", "fedtrack", "plugins", "list", "--json").stdout)
    (row,) = [row for row in listed if row["package"] == "fedtrack-my-own"]
    assert (row["name"], row["state"]) == ("my-own", "loaded")
    assert any(provided.startswith(kind.removesuffix("s")) for provided in row["supports"])


def test_a_new_project_declares_the_range_of_this_core(tmp_path: Path) -> None:
    text = (write_project("csv", "hooks", tmp_path / "new") / "pyproject.toml").read_text()
    assert 'dependencies = ["fedtrack>=0.1,<0.2"]' in text
    text = (write_project("slow", "workflow", tmp_path / "slow") / "pyproject.toml").read_text()
    assert 'dependencies = ["fedtrack>=0.1,<0.2", "fedtrack-local>=0.1,<0.2"]' in text


@pytest.mark.parametrize("name", ["", "Csv", "my_own", "-csv", "csv-", "a--b", "../csv", "1csv", "a b"])
def test_a_name_that_no_distribution_could_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a plugin"):
        write_project(name, "receiver", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_taken_is_refused(install: Install, tmp_path: Path) -> None:
    install("other-csv", receivers("csv"))
    install("other-relay", RELAY)
    with pytest.raises(ConfigError, match="other-csv"):
        write_project("csv", "receiver", tmp_path / "new")
    write_project("csv", "writer", tmp_path / "new")
    with pytest.raises(ConfigError, match="A workflow called 'Relay' is installed already"):
        write_project("relay", "workflow", tmp_path / "relay")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not an empty folder"):
        write_project("csv", "receiver", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_the_prefix_of_the_distribution_is_not_doubled(tmp_path: Path) -> None:
    folder = write_project("fedtrack-csv", "writer", tmp_path / "new")
    assert (folder / "src" / "fedtrack_csv" / "writer.py").exists()
