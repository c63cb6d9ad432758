"""PrivateFolder: nobody else can read or write a workspace, and a folder where that is not so is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedtrack import private_folder as module
from fedtrack.errors import WorkspaceError
from fedtrack.private_folder import private_files, private_folder, state_folder

pytestmark = pytest.mark.threat("T10")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_folder_and_those_above_it_are_private(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = private_folder(tmp_path / "a" / "b", "workspace")
        with private_files():
            (path / "file").touch()
    finally:
        assert os.umask(before) == 0
    assert [mode(path), mode(path.parent), mode(path / "file")] == [0o700, 0o700, 0o600]


def test_what_is_there_is_closed_to_others_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch(0o644)
    root = tmp_path / "ws"
    (root / "job").mkdir(parents=True, mode=0o755)
    (root / "job" / "run.sh").touch(0o755)
    (root / "job" / "model").touch(0o644)
    (root / "link").symlink_to(outside)
    (root / "nothing").symlink_to(tmp_path / "nothing")
    root.chmod(0o755)
    private_folder(root, "workspace", ["server", "job"])
    found = [mode(root / name) for name in ("", "job", "job/run.sh", "job/model")]
    assert found == [0o700, 0o700, 0o700, 0o600]
    assert mode(outside) == 0o644


def test_a_folder_with_other_things_in_it_stays_as_it_is(tmp_path: Path) -> None:
    """It may be the user's home, or /proc where the user is root."""
    root = tmp_path / "home"
    (root / "public").mkdir(parents=True, mode=0o755)
    (root / "public" / "page.html").touch(0o644)
    root.chmod(0o755)
    before = [mode(path) for path in (root, *sorted(root.rglob("*")))]
    private_folder(root, "workspace", ["server/simulate_job"])
    assert [mode(path) for path in (root, *sorted(root.rglob("*")))] == before


def test_an_empty_folder_is_closed_itself(tmp_path: Path) -> None:
    (tmp_path / "ws").mkdir(mode=0o755)
    assert mode(private_folder(tmp_path / "ws", "workspace")) == 0o700


@pytest.mark.parametrize("bits", [0o777, 0o1777, 0o702])
def test_a_folder_into_which_others_can_write_is_refused(bits: int, tmp_path: Path) -> None:
    root = tmp_path / "ws"
    root.mkdir()
    root.chmod(bits)
    with pytest.raises(WorkspaceError, match=r"^Others can write into the workspace .*ws'"):
        private_folder(root, "workspace")
    assert root.stat().st_mode & 0o7777 == bits


def test_the_group_of_the_user_alone_is_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "ws"
    root.mkdir()
    root.chmod(0o775)
    monkeypatch.setattr(module, "_is_own_group", lambda group: False)
    with pytest.raises(WorkspaceError, match="Others can write"):
        private_folder(root, "workspace")
    monkeypatch.setattr(module, "_is_own_group", lambda group: True)
    assert mode(private_folder(root, "workspace")) == 0o700


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, 12345, 12345)
    with pytest.raises(WorkspaceError, match="belongs to the user 12345"):
        private_folder(theirs, "workspace")
    tmp_path.chmod(0o1777)  # as /tmp is
    with pytest.raises(WorkspaceError, match=r"is reached through .*theirs', which belongs to the user 12345"):
        private_folder(theirs / "mine", "workspace")
    assert not (theirs / "mine").exists()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "target")
    os.lchown(link, 12345, 12345)
    with pytest.raises(WorkspaceError, match="is reached through"):
        private_folder(link, "workspace")


def test_the_state_of_a_user_is_in_the_users_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_folder() == Path("/state/fedtrack")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ann")
    assert state_folder() == Path("/home/ann/.local/state/fedtrack")
