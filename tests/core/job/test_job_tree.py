"""JobTree: what lies in a job's folder is files, folders and links to them, and nothing else is ever opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.job_tree import check_tree


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job" / "app" / "custom").mkdir(parents=True)
    (tmp_path / "job" / "app" / "custom" / "client.py").write_text("")
    (tmp_path / "secret").write_text("a secret")
    return tmp_path / "job"


def test_files_folders_and_links_among_them_are_fine(folder: Path) -> None:
    (folder / "app" / "custom" / "again.py").symlink_to("client.py")
    (folder / "app_2").symlink_to(folder / "app")
    check_tree(folder)
    (folder.parent / "link").symlink_to(folder)
    check_tree(folder.parent / "link")


@pytest.mark.parametrize("target", ["../../../secret", "/etc/passwd", "/", "../../.."])
def test_a_link_out_of_the_job_is_refused(folder: Path, target: str) -> None:
    (folder / "app" / "custom" / "data").symlink_to(target)
    with pytest.raises(ConfigError, match=r"custom/data is a link out of the job's folder, to .*; copy the file"):
        check_tree(folder)


def test_a_link_through_another_link_is_followed(folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("../secret")
    with pytest.raises(ConfigError, match="is a link out of the job's folder"):
        check_tree(folder)


@pytest.mark.parametrize(("target", "message"), [("missing", "is a link to nothing"), ("..", "that it is in")])
def test_a_link_to_nothing_or_to_itself_is_refused(folder: Path, target: str, message: str) -> None:
    (folder / "app" / "x").symlink_to(target)
    with pytest.raises(ConfigError, match=message):
        check_tree(folder)


def test_two_links_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    with pytest.raises(ConfigError, match="is a link"):
        check_tree(folder)


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "meta.json")
    with pytest.raises(ConfigError, match=r"meta\.json is neither a file nor a folder"):
        check_tree(folder)
