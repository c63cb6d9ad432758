"""Cross-site results: the file that people read, and the keys under which receivers see the scores."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack_local.workflows.cross_site_results import record_keys, write_results


def test_the_key_says_whose_data_and_whose_model() -> None:
    assert record_keys("site-1", "site-2", {"accuracy": 0.5}) == {"cross_val/site-1/site-2/accuracy": 0.5}


def test_any_json_reader_takes_scores_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "cross_site_val" / "results.json"
    write_results({"site-1": {"site-2": {"a": math.nan, "b": math.inf, "c": 0.5}}}, path)

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is no JSON")

    found = json.loads(path.read_text(), parse_constant=refuse)
    assert found == {"site-1": {"site-2": {"a": None, "b": None, "c": 0.5}}}


def test_the_file_and_its_folder_are_private_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "results" / "results.json"
    write_results({}, path)
    write_results({"site-1": {}}, path)
    assert list(path.parent.iterdir()) == [path]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_folder_that_cannot_be_made_is_an_error_that_says_where(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "results.json"
    with pytest.raises(WorkspaceError, match=rf"Cannot write {path}: .*free space or check rights"):
        write_results({}, path)
