"""Files that a job names: beside the script that was started, then in the working folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.files import find_file


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    beside, working = tmp_path / "beside", tmp_path / "working"
    for folder in (beside, working):
        folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(beside), *sys.path])
    monkeypatch.chdir(working)
    return beside, working


def test_what_lies_beside_the_script_goes_first(folders: tuple[Path, Path]) -> None:
    for folder in folders:
        (folder / "client.py").touch()
    assert find_file("client.py", "The script") == folders[0] / "client.py"
    (folders[0] / "client.py").unlink()
    assert find_file(Path("client.py"), "The script") == folders[1] / "client.py"


def test_an_absolute_path_is_itself_and_a_link_is_followed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "real.py").touch()
    (folders[0] / "link.py").symlink_to(tmp_path / "real.py")
    assert find_file(tmp_path / "real.py", "The script") == tmp_path / "real.py"
    assert find_file("link.py", "The script") == tmp_path / "real.py"


def test_a_file_that_is_nowhere_is_an_error_that_says_where_it_was_looked_for(folders: tuple[Path, Path]) -> None:
    message = rf"^The script 'client\.py' does not exist; looked in {folders[0]} and {folders[1]}; give a path"
    with pytest.raises(ConfigError, match=message):
        find_file("client.py", "The script")


def test_one_place_is_named_once(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folders[0])
    with pytest.raises(ConfigError, match=rf"looked in {folders[0]}; give"):
        find_file("client.py", "The script")
