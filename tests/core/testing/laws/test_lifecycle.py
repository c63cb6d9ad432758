"""The laws of a receiver's life: what they count as an escape, and that a blocked folder is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.testing.laws.lifecycle import blocked_folder, files_beside, hostile_names


def test_no_folder_can_be_made_where_one_is_blocked(tmp_path: Path) -> None:
    blocked = blocked_folder(tmp_path)
    with pytest.raises(OSError, match="Not a directory"):
        blocked.mkdir(parents=True)
    blocked.parent.unlink()
    blocked.mkdir(parents=True)


def test_a_file_counts_as_an_escape_wherever_it_is_but_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    for path in (folder / "inside", folder / "deep" / "inside", tmp_path / "beside", tmp_path / "results" / "run-evil"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert files_beside(tmp_path, folder) == {tmp_path / "beside", tmp_path / "results" / "run-evil"}


def test_hostile_names_climb_by_every_way_and_as_every_kind_that_has_one(tmp_path: Path) -> None:
    records = hostile_names(tmp_path)
    named = {(type(r).__name__, getattr(r, "key", None) or getattr(r, "path", "")) for r in records}
    assert {kind for kind, _ in named} == {"Metric", "Text", "Image", "Artifact"}
    for kind in ("Metric", "Artifact"):
        assert {name for k, name in named if k == kind} >= {"../evil", "../../../evil", f"{tmp_path}/evil"}
