"""MLflowReceiver on a real SQLite store, read back with plain SQL."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedtrack.errors import Permanent
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Artifact, BlobRef, Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_mlflow import MLflowReceiver, keys
from fedtrack_mlflow.names import table_of

Opened = Callable[..., MLflowReceiver]
NewBatch = Callable[..., Batch]

T0 = 1_700_000_001_000_000_000


def one_of_each() -> list[Record]:
    return [
        Metric(T0, "loss", 0.5, 1),
        Metric(T0 + 1, "loss", math.nan),
        Param(T0, "lr", 0.1),
        Param(T0 + 5, "lr", 0.2),
        Tag(T0, "phase", "warm-up"),
        Tag(T0 + 1, "phase", "train"),
        Text(T0, "notes/a.txt", "hello"),
        Text(T0, "remark", "at a step", 3),
        Image(T0, "digit@1", b"png bytes", 7, "png"),
        Histogram(T0, "grads", (0.0, 0.5, 1.0), (3.0, 4.0), 2),
        Artifact(T0, "models/m.bin", b"weights"),
    ]


def test_each_kind_lands_where_mlflow_shows_it(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    opened().receive(new_batch(one_of_each()))
    assert store.metrics() == [
        ("loss", 0.5, T0 // 10**6, 1, 0),
        ("loss", 0.0, T0 // 10**6, 877_000, 1),  # microseconds since the run's start, in whole milliseconds
    ]
    params = store.texts("params")
    assert params.pop("lr") == "0.1"
    assert list(params.values()) == ["0.2"]
    assert store.texts("tags")["phase"] == "train"
    artifacts = store.artifacts()
    assert artifacts.pop("histograms/grads/2.json").startswith(b'{"edges": [0.0, 0.5, 1.0], "counts": [3.0, 4.0]')
    assert artifacts == {
        "notes/a.txt": b"hello",
        "text/notes/a.txt/877000.txt": b"hello",
        "text/remark/3.txt": b"at a step",
        "images/digit_0x40_1/7.png": b"png bytes",
        "models/m.bin": b"weights",
    }


def test_sites_are_children_of_the_servers_run(
    opened: Opened, new_batch: NewBatch, store: Any, run_info: RunInfo
) -> None:
    receiver = opened(kw_args={"run_name": "fed", "run_tags": {"mlflow.note.content": "# x", "n": 1}})
    receiver.receive(new_batch([Metric(T0, "loss", 0.5, 1)], site="site-1"))
    receiver.receive(new_batch([Metric(T0, "loss", 0.6, 1)], site="a new 'site'"))
    receiver.receive(new_batch([Metric(T0, "global", 0.7, 1)], site="server"))
    names = store.rows("SELECT name, status, start_time FROM runs ORDER BY name")
    assert names == [
        (name, "RUNNING", run_info.started_ns // 10**6) for name in ("fed", "fed-a new 'site'", "fed-site-1")
    ]
    for site in ("site-1", "a new 'site'"):
        assert store.texts("tags", site)["mlflow.parentRunId"] == store.run_id("server")
    assert "mlflow.parentRunId" not in store.texts("tags", "server")
    assert store.texts("tags", "site-1")["mlflow.note.content"] == "# x"
    assert store.texts("tags", "server")["n"] == "1"
    assert [key for key, *_ in store.metrics("server")] == ["global"]


def test_delivering_again_changes_nothing_even_after_a_restart(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    batch = new_batch([*one_of_each(), *(Metric(T0 + 1000 * i, "acc@5", 0.5) for i in range(1500))])
    first = opened()
    first.receive(batch)
    before, artifacts = store.everything(), store.artifacts()
    assert len(store.metrics()) == 1502
    first.receive(batch)
    assert store.everything() == before
    second = opened()
    second.receive(batch)
    second.receive(dataclasses.replace(batch, seqs=batch.seqs[3:], records=batch.records[3:]))
    assert (store.everything(), store.artifacts()) == (before, artifacts)


def test_five_thousand_metrics_of_one_millisecond_all_arrive_in_order(
    opened: Opened, new_batch: NewBatch, store: Any
) -> None:
    records = [Metric(T0 + 200 * i, "loss", 1.0, i) for i in range(5000)]
    opened().receive(new_batch(records))
    assert [step for _, _, _, step, _ in store.metrics()] == list(range(5000))


def test_metrics_without_a_step_are_counted_exactly_and_the_last_is_the_latest(
    opened: Opened, new_batch: NewBatch, store: Any
) -> None:
    def values(first: int) -> list[Record]:
        return [Metric(T0 + 2000 * i, "lr", 0.1 if i < 799 else 0.9) for i in range(first, first + 400)]

    opened().receive(new_batch(values(0), stream="a" * 32))
    opened().receive(new_batch(values(400), stream="b" * 32))  # the script was started again
    assert len(store.metrics()) == 800
    assert store.rows("SELECT value FROM latest_metrics WHERE key = 'lr'") == [(0.9,)]


def test_equal_points_are_one_point_as_mlflow_has_it(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    records = [Metric(T0 + i, "loss", value, 1) for value in (0.5, math.nan, math.inf) for i in range(3)]
    opened().receive(new_batch([*records, Metric(T0 + 10**6, "loss", 0.5, 1)]))
    assert [value for _, value, *_ in store.metrics()] == [0.5, 0.0, sys.float_info.max, 0.5]


def test_infinities_are_the_largest_floats_and_nan_is_nan(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    opened().receive(new_batch([Metric(T0, key, float(key), 1) for key in ("inf", "-inf", "nan", "1e-300")]))
    assert store.metrics() == [
        ("inf", sys.float_info.max, T0 // 10**6, 1, 0),
        ("-inf", -sys.float_info.max, T0 // 10**6, 1, 0),
        ("nan", 0.0, T0 // 10**6, 1, 1),
        ("1e-300", 1e-300, T0 // 10**6, 1, 0),
    ]


POISON = [
    "acc@5%",
    "",
    "/",
    "../../etc",
    "a//b",
    "x" * 1000,
    "lf\n",
    "nul\0",
    "\u202eabc",
    "\x1b[31m",
    "😀",
    "mlflow.user",
]


def test_keys_that_mlflow_refuses_are_encoded_and_none_is_lost(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    records: list[Record] = [Metric(T0, key, 1.0, 1) for key in POISON]
    records += [Param(T0, key, "v") for key in POISON] + [Tag(T0, key, "v") for key in POISON]
    records += [Text(T0, f"texts {key}", "t") for key in POISON]
    opened().receive(new_batch(records))
    tags = store.texts("tags")
    table = table_of(tags)
    assert sum(name.startswith("fedtrack.names") for name in tags) < 5
    own = {name for name in tags if not name.startswith(keys.RESERVED_PREFIXES)}
    for names in ({name for name, *_ in store.metrics()}, set(store.texts("params")), own):
        assert sorted(table.get(name, name).replace("\\x00", "\0") for name in names) == sorted(POISON)
    assert len(store.artifacts()) == 2 * len(POISON)


def test_refused_keys_have_readable_names_that_stay_the_same(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    logged = ["MAP@k", "MAP_at_k", "acc [%]", "f(x)", "🎯"]
    for first in (0, 2, 4):
        opened().receive(new_batch([Metric(T0 + n, key, 1.0, n) for n, key in enumerate(logged)][first:], first=first))
    found = {name for name, *_ in store.metrics()}
    assert {"MAP_at_k", "acc_pct", "f_x"} < found
    table = table_of(store.texts("tags"))
    assert sorted(table.get(name, name) for name in found) == sorted(logged)


def test_texts_of_one_name_without_a_step_are_all_kept(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    texts: list[Record] = [Text(T0 + n * 1000, key, f"{key} {n}") for n in range(2) for key in ("note", "a/report.md")]
    opened().receive(new_batch(texts))
    opened().receive(new_batch(texts))
    files = store.artifacts()
    assert files.pop("note.txt") == b"note 1"
    assert files.pop("a/report.md") == b"a/report.md 1"
    assert sorted(files.values()) == [b"a/report.md 0", b"a/report.md 1", b"note 0", b"note 1"]
    assert {path.rpartition("/")[0] for path in files} == {"text/note", "text/a/report.md"}


def test_a_script_can_set_the_note_of_its_run(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    opened().receive(new_batch([Tag(T0, "mlflow.note.content", "# Result"), Tag(T0, "mlflow.user", "mallory")]))
    tags = store.texts("tags")
    assert tags["mlflow.note.content"] == "# Result"
    assert tags["mlflow.user"] != "mallory"


def test_the_parent_run_has_the_facts_of_the_job(run_info: RunInfo, store: Any) -> None:
    receiver = MLflowReceiver()
    receiver.open(replace(run_info, facts={"rounds": 3, "aggregator": "WeightedAggregator", "job_hash": "ab"}))
    receiver.close("completed")
    expected = {"rounds": "3", "aggregator": "WeightedAggregator", "job_hash": "ab", "sites": "2"}
    assert store.texts("params", "server") == expected
    tags = store.texts("tags", "server")
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == ("hello", "LOCAL")
    assert tags["mlflow.user"]


def test_long_values_are_cut_and_kept_whole_as_files(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    first, second = "p" * 6000 + "1", "p" * 6000 + "2"
    records = [
        Param(T0, "p", first),
        Param(T0 + 1, "p", second),
        Tag(T0, "t", "é" * 8001),
        Param(T0, "ok", "x" * 6000),
    ]
    opened().receive(new_batch(records))
    params = store.texts("params")
    assert params["ok"] == "x" * 6000
    assert len(params["p"]) == 6000
    assert len(params) == 3, "values that differ beyond the limit are different values"
    assert len(store.texts("tags")["t"]) == 8000
    stored = store.artifacts()
    assert sorted(stored.values()) == sorted([first.encode(), second.encode(), ("é" * 8001).encode()])
    assert all(any(path in value for path in stored) for value in (params["p"], store.texts("tags")["t"]))


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "True"), (None, "None"), (1.5, "1.5"), ("", ""), ("a\0b", "a\\x00b"), (10**18, "1" + "0" * 18)],
)
def test_parameters_of_any_type(opened: Opened, new_batch: NewBatch, store: Any, value: Any, shown: str) -> None:
    opened().receive(new_batch([Param(T0, "p", value)]))
    assert store.texts("params") == {"p": shown}


def test_blobs_are_read_from_their_store_and_a_missing_one_loses_only_itself(
    opened: Opened, new_batch: NewBatch, store: Any, run_info: RunInfo
) -> None:
    kept = run_info.blobs.put(b"z" * 100_000)
    gone = BlobRef("0" * 64, 5)
    records = [
        Text(T0, "big.txt", kept),
        Artifact(T0, "gone.bin", gone),
        Image(T0, "i", kept),
        Metric(T0, "m", 1.0, 1),
    ]
    with pytest.raises(Permanent, match=r"gone\.bin") as caught:
        opened().receive(new_batch(records))
    assert caught.value.indices == (1,)
    assert set(store.artifacts().values()) == {b"z" * 100_000}
    assert sorted(path.partition("/")[0] for path in store.artifacts()) == ["big.txt", "images", "text"]
    assert len(store.metrics()) == 1


def test_an_artifact_below_a_file_is_refused_alone(opened: Opened, new_batch: NewBatch, store: Any) -> None:
    with pytest.raises(Permanent) as caught:
        opened().receive(new_batch([Artifact(T0, name, name.encode()) for name in ("a", "a/b", "c")]))
    assert caught.value.indices == (1,)
    assert store.artifacts() == {"a": b"a", "c": b"c"}


def test_arguments_of_flares_example(opened: Opened, new_batch: NewBatch, store: Any, run_info: RunInfo) -> None:
    receiver = opened(
        kw_args={
            "experiment_name": "nvflare-fedavg-experiment",
            "run_name": "nvflare-fedavg-with-mlflow",
            "experiment_tags": {"mlflow.note.content": "## **NVFlare**"},
            "run_tags": {"mlflow.note.content": "## Federated\n"},
        },
        artifact_location="artifacts",
        events=["fed.analytix_log_stats"],
    )
    receiver.receive(new_batch([Text(T0, "a.txt", "x")]))
    location = (run_info.folder / "artifacts").as_uri()
    assert store.rows("SELECT name, artifact_location FROM experiments WHERE experiment_id > 0") == [
        ("nvflare-fedavg-experiment", location)
    ]
    assert dict(store.rows("SELECT key, value FROM experiment_tags")) == {
        "mlflow.note.content": "## **NVFlare**",
        "mlflow.experimentKind": "custom_model_development",  # MLflow 3 opens the list of runs
    }
    assert list((run_info.folder / "artifacts").rglob("a.txt"))
    results = receiver.results()
    assert results is not None
    assert results.command == f"mlflow ui --backend-store-uri sqlite:///{store.path}"
