"""MLflowReceiver on a real file store, which FLARE's own example uses: MLflow has deprecated it, but it must work."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Metric, Param, Tag, Text
from fedtrack_mlflow import MLflowReceiver
from fedtrack_mlflow.filestore import FileNames
from fedtrack_mlflow.keys import encode

Opened = Callable[..., MLflowReceiver]
NewBatch = Callable[..., Batch]

T0 = 1_700_000_001_000_000_000


@pytest.fixture
def uri(run_info: RunInfo) -> str:
    return (run_info.folder / "mlruns").as_uri()


def site_run(run_info: RunInfo) -> Path:
    (tag,) = (p for p in run_info.folder.glob("mlruns/*/*/tags/fedtrack.site") if p.read_text() == "site-1")
    return tag.parent.parent


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_flares_uri_works_and_says_once_that_it_is_deprecated(
    opened: Opened, new_batch: NewBatch, uri: str, run_info: RunInfo, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = opened(tracking_uri=uri, artifact_location="artifacts")
    records = [Metric(T0 + i, "train/loss", i / 4, i) for i in range(3)]
    receiver.receive(new_batch([*records, Param(T0, "lr", ""), Tag(T0, "a", "b"), Text(T0, "x.txt", "y")]))
    receiver.receive(new_batch([Metric(T0, "nan", math.nan, 1), Metric(T0, "inf", math.inf, 1)], first=6))
    run = site_run(run_info)
    millis = T0 // 10**6
    assert files(run / "metrics") == {
        "train/loss": f"{millis} 0.0 0\n{millis} 0.25 1\n{millis} 0.5 2\n",
        "nan": f"{millis} nan 1\n",
        "inf": f"{millis} inf 1\n",
    }
    assert files(run / "params") == {"lr": ""}
    assert list((run_info.folder / "artifacts").rglob("x.txt"))
    said = [record for record in caplog.records if "deprecated" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]


def test_delivering_again_changes_nothing(opened: Opened, new_batch: NewBatch, uri: str, run_info: RunInfo) -> None:
    points = [Metric(T0 + 1000 * i, key, value) for i in range(300) for key, value in (("a", math.nan), ("b", 0.1))]
    batch = new_batch([*points, Param(T0, "lr", 1), Param(T0 + 1, "lr", 2)])
    receiver = opened(tracking_uri=uri)
    receiver.receive(batch)
    before = files(site_run(run_info))
    assert before["metrics/a"].count("\n") == before["metrics/b"].count("\n") == 300
    receiver.receive(batch)
    opened(tracking_uri=uri).receive(batch)
    assert files(site_run(run_info)) == before


def test_equal_points_are_one_point_as_in_other_stores(
    opened: Opened, new_batch: NewBatch, uri: str, run_info: RunInfo
) -> None:
    opened(tracking_uri=uri).receive(new_batch([Metric(T0 + i, "loss", math.nan, 1) for i in range(3)]))
    assert files(site_run(run_info))["metrics/loss"].count("\n") == 1


def test_a_batch_that_is_known_in_part_is_completed(
    opened: Opened, new_batch: NewBatch, uri: str, run_info: RunInfo
) -> None:
    points = [Metric(T0 + i, "loss", 1.0, i) for i in range(20)]
    opened(tracking_uri=uri).receive(new_batch(points[:7]))
    opened(tracking_uri=uri).receive(new_batch(points))
    lines = files(site_run(run_info))["metrics/loss"].splitlines()
    assert [int(line.split()[2]) for line in lines] == list(range(20))


def test_a_key_may_be_the_beginning_of_another(
    opened: Opened, new_batch: NewBatch, uri: str, run_info: RunInfo
) -> None:
    both = [
        Metric(T0, "loss", 1.0, 1),
        Metric(T0, "loss/top", 2.0, 1),
        Metric(T0, "acc/1", 3.0, 1),
        Metric(T0, "acc", 4.0, 1),
    ]
    more = [
        Param(T0, "p/q", "1"),
        Param(T0, "p", "2"),
        Param(T0 + 1, "p", "3"),
        Tag(T0, "t", "1"),
        Tag(T0, "t/u", "2"),
    ]
    batch = new_batch([*both, *more])
    opened(tracking_uri=uri).receive(batch)
    before = files(site_run(run_info))
    assert {name: text.split()[1] for name, text in files(site_run(run_info) / "metrics").items()} == {
        "loss": "1.0",
        "_0x6c_oss_0x2f_top": "2.0",
        "acc/1": "3.0",
        "_0x61_cc": "4.0",
    }
    assert sorted(files(site_run(run_info) / "params").values()) == ["1", "2", "3"]
    assert json.loads(before["tags/fedtrack.names"])["_0x6c_oss_0x2f_top"] == "loss/top"
    opened(tracking_uri=uri).receive(batch)
    assert files(site_run(run_info)) == before


@given(st.permutations(["a", "a/b", "a/b/c", "b", "a@", "a@/b", "a/b@", "/a", "_0x61_"]))
def test_no_name_is_the_folder_of_another(some_keys: list[str]) -> None:
    names = FileNames(encode, [])
    given_names = {key: names(key) for key in some_keys}
    assert len(set(given_names.values())) == len(given_names)
    for name in given_names.values():
        assert not any(other.startswith(f"{name}/") for other in given_names.values())
    reopened = FileNames(encode, given_names.values())
    assert {key: reopened(key) for key in some_keys} == given_names
