"""Events: the names that job files, receivers and FLARE share."""

from __future__ import annotations

import dataclasses

import pytest

from fedtrack.job import ANALYTIC_EVENT_TYPE
from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT, Batch
from fedtrack.tracking.records import Metric


def test_the_names_are_flares() -> None:
    assert (LOCAL_EVENT, FED_EVENT) == ("analytix_log_stats", "fed.analytix_log_stats")
    assert ANALYTIC_EVENT_TYPE == LOCAL_EVENT


def test_no_receiver_can_change_what_the_next_one_gets() -> None:
    batch = Batch("site-1", "ab" * 16, range(1), (Metric(1, "loss", 0.5),))
    with pytest.raises(dataclasses.FrozenInstanceError):
        batch.site = "site-2"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        batch.records[0].value = 1.0  # type: ignore[union-attr, misc]
