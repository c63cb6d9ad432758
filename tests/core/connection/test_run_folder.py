"""RunFolder: many processes may create a run at once; all of them get one identity."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.connection.run_folder import RunFolder
from fedtrack.errors import WorkspaceError

CREATE = """
import sys
from pathlib import Path
from uuid import uuid4
from fedtrack.connection.run_folder import RunFolder
print(RunFolder(Path(sys.argv[1]), "study-7").create(uuid4().hex, 1).run_id)
"""


def test_all_get_the_identity_of_the_first(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CREATE, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert len({process.communicate(timeout=60)[0] for process in running}) == 1
    assert [path.name for path in RunFolder(tmp_path, "study-7").server.iterdir()] == ["run.json"]


def test_sites_are_those_with_a_spool(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "study-7")
    assert folder.record is None
    folder.create("a" * 32, 7)
    for site in ("hospital-b", "hospital-a"):
        folder.spool(site).mkdir(parents=True)
    assert folder.sites() == ["hospital-a", "hospital-b"]


def test_a_damaged_identity_is_not_replaced(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "study-7")
    folder.create("a" * 32, 7)
    (folder.server / "run.json").write_text("{")
    with pytest.raises(WorkspaceError, match="cannot be read"):
        folder.create("b" * 32, 8)
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        RunFolder(tmp_path / "file", "study-7").create("b" * 32, 8)
