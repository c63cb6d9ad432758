"""TaskReport: what the server keeps of a task, read back from the frames that it would write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fedtrack.client import FLModel
from fedtrack.spool.frames import MAX_PAYLOAD
from fedtrack.tracking.records import TaskRecord, decode, encode, is_control
from fedtrack_local.task_report import TaskReport
from fedtrack_local.workflows.workflow import Answer, GroupAnswer, Task

TASK = Task("train", {"w": np.zeros(4, np.float32)}, 3)


def model(steps: Any = 5, **metrics: float) -> FLModel:
    return FLModel(metrics=metrics, meta={"NUM_STEPS_CURRENT_ROUND": steps})


def read(records: Any) -> list[TaskRecord]:
    found = []
    for record in records:
        payload = encode(record)
        assert is_control(payload)
        assert len(payload) <= MAX_PAYLOAD
        decoded = decode(payload)
        assert isinstance(decoded, TaskRecord)
        found.append(decoded)
    return found


def by_site(records: list[TaskRecord]) -> dict[str, dict[str, Any]]:
    return {
        site: {
            "sent": record.sent[i],
            "received": record.received[i],
            "weight": record.weights[i],
            "seconds": record.seconds[i],
            "answered": record.answered_ns[i],
            "metrics": {key: values[i] for key, values in record.metrics.items() if values[i] is not None},
            "error": record.errors.get(site, ""),
        }
        for record in records
        for i, site in enumerate(record.sites)
    }


def test_who_was_asked_is_kept_before_anybody_answers() -> None:
    (record,) = read(TaskReport(TASK, ["a", "b"]).begun())
    assert (record.task, record.round, record.step, record.sites) == ("train", 3, 3, ("a", "b"))
    assert len(record.asked_ns) == 2
    assert record.answered_ns == ()


def test_a_site_that_failed_differs_from_one_that_was_not_asked_and_from_one_that_answered() -> None:
    report = TaskReport(TASK, ["a", "b", "c"])
    report.take(Answer("a", model(7, loss=0.5), 16, asked_ns=1, answered_ns=9, seconds=2.5, ends={"00": 4}))
    report.take(Answer("c", model(None), 16))
    (record,) = read(report.ended({"b": ValueError("its disk is full"), "z": ValueError("earlier")}))
    found = by_site([record])
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == {
        "sent": 16,
        "received": 16,
        "weight": 7.0,
        "seconds": 2.5,
        "answered": 9,
        "metrics": {"loss": 0.5},
        "error": "",
    }
    assert (found["b"]["answered"], found["b"]["error"]) == (0, "its disk is full")
    assert math.isnan(found["c"]["weight"])  # its weight is not valid
    assert (found["c"]["metrics"], found["c"]["error"], record.ends) == ({}, "", {"00": 4})


def test_an_answer_that_is_rejected_later_is_taken_back() -> None:
    report = TaskReport(TASK, ["a", "b"])
    report.take(Answer("a", model(), 16))
    read(report.ended({}))
    (record,) = read(report.rejected("a", ValueError("NaN in 'w'")))
    assert (record.sites, record.errors) == (("a",), {"a": "NaN in 'w'"})
    assert read(report.rejected("stranger", ValueError("x"))) == []


@pytest.mark.parametrize("keys", [1, 40])
def test_ten_thousand_sites_fit_few_frames(keys: int) -> None:
    sites = [f"site-{n}" for n in range(10_000)]
    report = TaskReport(TASK, sites)
    metrics = {f"metric-{key}": float(key) for key in range(keys)}
    for start in range(0, len(sites), 50):
        group = sites[start : start + 50]
        report.take(GroupAnswer(group, {site: model(**metrics) for site in group}, None, 1000))
    begun, ended = read(report.begun()), read(report.ended({}))
    assert [site for record in begun for site in record.sites] == sites
    assert [site for record in ended for site in record.sites] == sites
    assert len(begun) <= 10
    assert len(ended) <= 10 * max(1, keys // 10)
    size = sum(len(encode(record)) for record in ended)
    assert size < len(sites) * (90 + 10 * keys)
    assert all(found["metrics"] == metrics and found["received"] == 20 for found in by_site(ended).values())


def test_a_result_larger_than_a_frame_keeps_all_but_its_metrics(caplog: pytest.LogCaptureFixture) -> None:
    report = TaskReport(TASK, ["a", "b"])
    report.take(Answer("a", model(**{"m" * 500 + str(n): 0.0 for n in range(3000)}), 16))
    report.take(Answer("b", model(loss=1.0), 16))
    found = by_site(read(report.ended({})))
    assert (found["a"]["metrics"], found["a"]["weight"]) == ({}, 5.0)
    assert found["b"]["metrics"] == {"loss": 1.0}
    assert "a: the metrics of its result are too large" in caplog.text


def test_a_site_that_is_asked_later_is_asked_once() -> None:
    report = TaskReport(TASK, [])
    assert [record.sites for record in read(report.ask("a"))] == [("a",)]
    assert read(report.ask("a")) == []
    report.take(Answer("a", model(loss=1.0), 16))
    assert by_site(read(report.ended({})))["a"]["metrics"] == {"loss": 1.0}
