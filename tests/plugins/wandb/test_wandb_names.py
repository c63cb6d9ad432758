"""Paths of artifacts: whatever is logged has a place of its own, in any order."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from fedtrack_wandb import names

LOGGED = ("notes", "notes/a.txt", "notes/sub/b.txt", "notes/sub", "notes%2F")


@pytest.mark.parametrize("order", list(permutations(LOGGED)))
def test_a_file_and_a_folder_of_one_name_are_both_kept(tmp_path: Path, order: tuple[str, ...]) -> None:
    placed: dict[str, Path] = {}
    for path in (*order, *order):  # twice: redelivery finds the same place
        target = names.free_path(tmp_path, names.encode_path(path))
        assert placed.setdefault(path, target) == target or not placed[path].is_file()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path)
        placed[path] = target
    assert {path: target.read_text() for path, target in placed.items()} == {path: path for path in LOGGED}
    assert all(target.is_relative_to(tmp_path) for target in placed.values())
