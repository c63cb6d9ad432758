"""SiteWork: columns of task records, also of a server whose columns do not fit each other."""

from __future__ import annotations

import math

import msgspec

from fedtrack.tracking.records import TaskRecord
from fedtrack.view.site_work import durations, parts_of

WHOLE = TaskRecord(
    1,
    "train",
    0,
    0,
    ("a", "b"),
    (10, 20),
    (3_000_000_010, 5_000_000_020),
    (4, 4),
    (2, 2),
    (1.0, 7.0),
    (2.0, math.nan),
    {"acc": (0.5, None)},
    {"b": "too late"},
    {},
)


def test_each_site_has_its_place_in_every_column() -> None:
    parts = dict(parts_of(WHOLE))
    assert (parts["a"].metrics, parts["a"].error, parts["a"].is_valid) == ({"acc": 0.5}, "", True)
    assert (parts["b"].metrics, parts["b"].weight, parts["b"].is_valid) == ({}, 7.0, False)


def test_columns_that_do_not_fit_have_no_facts_and_no_error() -> None:
    for change in ({"weights": (1.0,)}, {"answered_ns": ()}, {"sent": ()}, {"asked_ns": ()}):
        parts = dict(parts_of(msgspec.structs.replace(WHOLE, **change)))
        assert list(parts) == ["a", "b"]
    assert not dict(parts_of(msgspec.structs.replace(WHOLE, weights=())))["a"].is_valid


def test_time_is_work_transfer_or_waiting_for_the_last() -> None:
    spent = durations(dict(parts_of(WHOLE)))
    assert (spent["a"].training, spent["a"].transfer) == (2.0, 1.0)
    assert spent["a"].waiting == 2.00000001
    assert (math.isnan(spent["b"].transfer), spent["b"].waiting) == (True, 0.0)
