"""The promises of every engine if a site's process is killed and another site's spool is damaged."""

from __future__ import annotations

import pytest

from fedtrack.engine import RunState
from fedtrack.tracking.records import Metric

from .conftest import Ended, Started, wait


@pytest.fixture(scope="module")
def ended(started: dict[str, Started]) -> Ended:
    return wait(started["crash"])


def steps(ended: Ended, site: str, key: str) -> list[int | None]:
    return [r.step for _, _, r in ended.events[site] if isinstance(r, Metric) and r.key == key]


def test_run_fails_and_says_so(ended: Ended) -> None:
    assert ended.status.state is RunState.FAILED
    assert ended.result.status == "failed"
    assert "site-1" in ended.result.error


def test_killed_script_loses_nothing_that_it_logged(ended: Ended) -> None:
    assert steps(ended, "site-1", "loss") == list(range(100))
    assert ended.result.sites["site-1"].journaled == 100


def test_damage_is_a_recorded_gap_and_stops_nothing(ended: Ended) -> None:
    assert len(steps(ended, "site-2", "other")) == 9
    assert [site for site, _ in ended.result.gaps] == ["site-2"]
    assert "damaged bytes" in ended.result.gaps[0][1]
    assert steps(ended, "site-2", "loss")[:50] == list(range(50))


def test_damaged_events_are_not_called_complete(ended: Ended) -> None:
    assert ended.status.events_complete is False
    assert not ended.result.events_complete
