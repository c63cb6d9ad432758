"""SiteStates: a site's state is kept between tasks, and a repeated task begins with the same state as before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fedtrack.errors import ModelError
from fedtrack_local.workers.site_states import SiteStates


def keep(states: SiteStates, site: str, task: str, state: dict[str, Any]) -> None:
    states.load(site, task)
    states.save(site, task, state)


def test_plain_values_and_arrays_come_back(tmp_path: Path) -> None:
    state = {
        "n": 3,
        "rate": 0.5,
        "name": "é",
        "raw": b"\0\1",
        "nested": {"list": [1, None, True, {"deep": 2.5}]},
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "half": np.array([1.5, -2], ml_dtypes.bfloat16),
        "scalar": np.float32(0.25),
        "empty": np.zeros((0, 4)),
    }
    keep(SiteStates(tmp_path), "site-1", "train/0", state)
    found = SiteStates(tmp_path).load("site-1", "train/1")
    for name in ("n", "rate", "name", "raw", "nested"):
        assert found[name] == state[name]
    for name in ("array", "half", "scalar", "empty"):
        expected = np.asarray(state[name])
        assert (found[name].dtype, found[name].shape) == (expected.dtype, expected.shape)
        assert found[name].tobytes() == expected.tobytes()
    found["array"][0, 0] = 9  # free to be changed in place


def test_sites_have_states_of_their_own(tmp_path: Path) -> None:
    states = SiteStates(tmp_path)
    for site in ("site-1", "SITE-1", "../site-1", "a/b"):
        keep(states, site, "train/0", {"name": site})
    for site in ("site-1", "SITE-1", "../site-1", "a/b"):
        assert states.load(site, "train/1") == {"name": site}
    assert len(list(tmp_path.iterdir())) == 4


def test_task_done_again_begins_with_the_state_before_it(tmp_path: Path) -> None:
    states = SiteStates(tmp_path)
    keep(states, "a", "train/0", {"rounds": 1})
    keep(states, "a", "train/1", {"rounds": 2})
    assert SiteStates(tmp_path).load("a", "train/1") == {"rounds": 1}
    assert SiteStates(tmp_path).load("a", "train/2") == {"rounds": 2}
    again = SiteStates(tmp_path)
    keep(again, "a", "train/1", again.load("a", "train/1") | {"rounds": 2})
    assert again.load("a", "train/2") == {"rounds": 2}


def test_what_does_not_change_is_not_written(tmp_path: Path) -> None:
    states = SiteStates(tmp_path / "states")
    keep(states, "a", "train/0", {})
    assert not (tmp_path / "states").exists()
    keep(states, "a", "train/1", {"n": 1})
    (path,) = (tmp_path / "states").iterdir()
    written = path.stat().st_mtime_ns
    keep(states, "a", "train/2", {"n": 1})
    assert path.stat().st_mtime_ns == written


def test_state_can_be_emptied(tmp_path: Path) -> None:
    states = SiteStates(tmp_path)
    keep(states, "a", "train/0", {"n": 1})
    keep(states, "a", "train/1", {})
    assert states.load("a", "train/2") == {}
    assert states.load("a", "train/1") == {"n": 1}


def test_files_are_private(tmp_path: Path) -> None:
    keep(SiteStates(tmp_path / "states"), "a", "train/0", {"n": 1})
    (path,) = (tmp_path / "states").iterdir()
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("value", [object(), lambda: 1, 2**80, np.array(["text"])])
def test_what_cannot_be_kept_is_refused_and_the_last_state_stays(tmp_path: Path, value: Any) -> None:
    states = SiteStates(tmp_path)
    keep(states, "a", "train/0", {"n": 1})
    states.load("a", "train/1")
    with pytest.raises(ModelError, match="cannot be kept"):
        states.save("a", "train/1", {"bad": value})
    assert states.load("a", "train/1") == {"n": 1}
