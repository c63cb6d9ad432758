"""The modules that the fork server imports for the sites."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.components import ClientAppRunner, Runner, ScriptRunner
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.starting import preload
from support.throwaway import Install


class Asked(SitePool):
    """Remembers what it is asked to import, and starts no process."""

    def __init__(self) -> None:
        self.modules: set[str] = set()

    def preload(self, modules: Iterable[str]) -> None:
        self.modules |= set(modules)


@pytest.mark.parametrize(
    ("runner", "expected"),
    [
        (ScriptRunner("client.py"), {"numpy", "torch"}),
        (ClientAppRunner("client.py"), {"numpy", "torch"}),
        (ScriptRunner("client.py", framework="numpy"), {"numpy"}),
        (ClientAppRunner("client.py", framework="numpy"), {"numpy"}),
        (ScriptRunner("client.py", launch_external_process=True), set()),
    ],
)
def test_torch_is_imported_for_scripts_that_get_tensors(runner: Runner, expected: set[str], tmp_path: Path) -> None:
    """Also where the script leaves that import to a library; not for a process that replaces the fork."""
    script = tmp_path / "client.py"
    script.write_text("import numpy\nimport a_library_on_torch\n")
    pool = Asked()
    preload(pool, [(str(script), runner)])
    assert pool.modules == expected


def test_packages_of_plugins_are_imported_where_a_script_imports_them(tmp_path: Path, install: Install) -> None:
    install("fedtrack-shared", "")
    script = tmp_path / "client.py"
    script.write_text("import fedtrack_shared\nfrom fedtrack_mlflow import anything\nimport fedtrack_unknown, json\n")
    pool = Asked()
    preload(pool, [(str(script), ScriptRunner("client.py", framework="numpy"))])
    assert pool.modules == {"fedtrack_shared", "fedtrack_mlflow"}


def test_a_script_that_is_missing_is_named_however_it_is_run(tmp_path: Path) -> None:
    runner = ScriptRunner("gone.py", launch_external_process=True)
    with pytest.raises(ConfigError, match=r"gone\.py"):
        preload(Asked(), [(str(tmp_path / "gone.py"), runner)])
