"""The receiver in offline mode, read back from the files that W&B's SDK wrote."""

from __future__ import annotations

import math
import threading
import zlib
from pathlib import Path

import pytest

from fedtrack import Permanent, RunInfo
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Tag, Text

from .conftest import MakeReceiver, batch
from .offline_run import read_runs

SECOND = 1_000_000_000


def test_every_site_has_a_run_with_every_row(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    for site, count in (("site-1", 30), ("site-2", 7), ("late site", 3)):
        receiver.receive(batch(*(Metric(i, "loss", i / 2, i) for i in range(count)), site=site))
    receiver.close("completed")

    runs = read_runs(run_info.folder)
    counts = {run.run.display_name: run.values("loss") for run in runs.values()}
    assert counts == {
        "hello-site-1": [i / 2 for i in range(30)],
        "hello-site-2": [i / 2 for i in range(7)],
        "hello-late site": [0.0, 0.5, 1.0],
    }
    assert {run.run.run_group for run in runs.values()} == {"hello-job-1a2b"}
    assert all(run.exit_code == 0 for run in runs.values())


def test_init_arguments_reach_every_run(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    args = {
        "project": "experiments",
        "name": "baseline",
        "group": "nightly",
        "job_type": "train-validate",
        "notes": "Two sites.",
        "tags": ["baseline", "paper1"],
        "config": {"architecture": "CNN", "optimizer": {"lr": 0.1}},
    }
    receiver = make_receiver(wandb_args=args)
    receiver.receive(batch(Metric(0, "loss", 1.0)))
    receiver.close("failed")

    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    assert run.run.project == "experiments"
    assert run.run.display_name == "baseline-site-1"
    assert run.run.run_group == "nightly"
    assert run.run.job_type == "train-validate"
    assert run.run.notes == "Two sites."
    assert list(run.run.tags) == ["baseline", "paper1"]
    assert run.config["architecture"] == "CNN"
    assert run.config["optimizer"] == {"lr": 0.1}
    assert run.config["fedtrack"] == {"job": "hello", "run_id": "job-1a2b", "site": "site-1"}
    assert run.exit_code == 1


def test_steps_may_go_back_and_the_sites_clock_is_kept(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    steps = [5, 3, 3, -1, 2**40]
    receiver.receive(batch(*(Metric(17 * SECOND + i * SECOND // 2, "acc", i, s) for i, s in enumerate(steps))))
    receiver.close("completed")

    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    assert run.values("global_step") == steps
    assert run.values("_timestamp") == [17.0, 17.5, 18.0, 18.5, 19.0]
    assert run.metrics["acc"].step_metric == "global_step"


def test_one_log_call_is_one_row(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    receiver.receive(
        batch(
            Metric(1, "loss", 1.0, 1),
            Metric(1, "acc", 0.5, 1),
            Metric(1, "loss", 2.0, 1),  # the same key again: another call
            Metric(1, "loss", 3.0, 2),
            Metric(2, "loss", 4.0, 2),
        )
    )
    receiver.close("completed")

    rows = read_runs(run_info.folder)["job-1a2b-site-1"].rows
    assert [(row["loss"], row.get("acc")) for row in rows] == [(1.0, 0.5), (2.0, None), (3.0, None), (4.0, None)]


def test_a_step_is_never_invented(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    receiver.receive(batch(Metric(1, "both", 1.0, 7), Metric(2, "both", 2.0), Metric(3, "free", 3.0)))
    receiver.receive(batch(Metric(4, "free", 4.0, 8), Metric(5, "global_step", 9.0), first=3))
    receiver.receive(batch(Metric(6, "global_step", 10.0, 11), first=5))
    receiver.close("completed")

    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    assert [row.get("global_step") for row in run.rows] == [7, None, None, 8, 9.0, 11]
    assert run.rows[-1]["%67lobal_step"] == 10.0
    assert not run.metrics["both"].options.step_sync
    assert "free" not in run.metrics  # on W&B's own axis, where every row has a place


def test_numbers_that_json_lacks(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    values = [math.nan, math.inf, -math.inf, 1e-320, 0.1]
    receiver.receive(batch(*(Metric(i, "v", value, i) for i, value in enumerate(values))))
    receiver.receive(batch(Param(9, "nan", math.nan), Param(9, "big", 2**63), Param(9, "none", None), first=5))
    receiver.close("completed")

    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    assert repr(run.values("v")) == repr(values)
    assert (run.config["nan"], run.config["big"], run.config["none"]) == ("nan", str(2**63), None)


def test_parameters_and_tags_are_config(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver(wandb_args={"config": {"lr": 0.5}})
    receiver.receive(batch(Param(1, "lr", 0.1), Param(1, "on", True), Tag(2, "model", "a"), Tag(3, "model", "b")))
    receiver.close("completed")

    config = read_runs(run_info.folder)["job-1a2b-site-1"].config
    assert (config["lr"], config["on"], config["tags/model"]) == (0.1, True, "b")


def test_names_that_wandb_keeps_for_itself(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    keys = ["_step", "_timestamp", "_wandb", "a*b", "a\0b", "-x-", "100%", "%41", "k:v/é.x", "../../x", "x" * 1024]
    receiver.receive(batch(*(Metric(i, key, i, i) for i, key in enumerate(keys))))
    receiver.receive(batch(*(Text(20 + i, key, "a\nb") for i, key in enumerate(keys[:-1])), first=20))
    receiver.receive(batch(*(Param(40, key, i) for i, key in enumerate(keys)), first=40))
    receiver.close("completed")

    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    encoded = ["%5Fstep", "%5Ftimestamp", "%5Fwandb", "a%2Ab", "a%00b", "%2Dx%2D", "100%", "%2541", *keys[8:]]
    for i, key in enumerate(encoded):
        assert run.values(key)[0] == i
        assert run.config[key] == i
    assert len(run.rows) == 2 * len(keys) - 1
    media = (run.files[0].parent / "files" / "media").resolve()
    assert len([path for path in media.rglob("*.html") if media in path.resolve().parents]) == len(keys) - 1


def test_media_are_files_of_the_run(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    page = "<b>two</b>\nlines" + "." * 40_000
    stored = run_info.blobs.put(page.encode())
    receiver.receive(
        batch(
            Text(1, "phase", "warm-up", 1),
            Text(2, "report/full", stored, 2),
            Image(3, "sample", png(), 3),
            Histogram(4, "weights", tuple(range(1025)), (1.0,) * 1024, 4),
            Artifact(5, "reports/a.json", b"{}"),
        )
    )
    receiver.close("completed")

    run = read_runs(run_info.folder)["job-1a2b-site-1"]
    files = run.files[0].parent / "files"
    assert run.rows[0]["phase"] == "warm-up"
    assert run.rows[1]["global_step"] == 2
    (html,) = (files / "media/html/report").glob("full_*.html")
    assert html.read_text().startswith("<pre>&lt;b&gt;two&lt;/b&gt;\nlines...")
    (image,) = (files / "media/images").glob("sample_*.png")
    assert image.read_bytes() == png()
    histogram = run.rows[3]
    assert (histogram["weights._type"], sum(histogram["weights.values"])) == ("histogram", 1024)
    assert (histogram["weights.bins"][0], histogram["weights.bins"][-1]) == (0, 1024)
    assert (files / "artifacts/reports/a.json").read_bytes() == b"{}"


def test_what_is_no_image_is_refused_alone(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    broken = Image(2, "broken", b"no image")
    with pytest.raises(Permanent, match="image") as caught:
        receiver.receive(batch(Metric(1, "a", 1.0), broken, Metric(3, "a", 2.0), broken))
    assert caught.value.indices == (1, 3)
    receiver.close("completed")
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("a") == [1.0, 2.0]


def test_a_name_too_long_for_a_file_is_refused_alone(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    with pytest.raises(Permanent, match="too long"):
        receiver.receive(batch(Text(1, "x" * 1024, "two\nlines"), Metric(2, "a", 1.0)))
    receiver.close("completed")
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("a") == [1.0]


def test_a_redelivered_record_is_not_logged_twice(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    records = [Metric(i, "a", i) for i in range(6)]
    receiver.receive(batch(*records[:4]))
    receiver.receive(batch(*records[2:], first=2))
    receiver.receive(batch(*records, stream="f" * 32))
    receiver.close("completed")
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("a") == [*range(6), *range(6)]


def test_a_restarted_receiver_goes_on_with_the_same_run(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    for first in (0, 3):
        receiver = make_receiver()
        receiver.receive(batch(*(Metric(i, "a", i) for i in range(first, first + 3)), first=first))
        receiver.close("completed")
    runs = read_runs(run_info.folder)
    assert list(runs) == ["job-1a2b-site-1"]
    assert sorted(runs["job-1a2b-site-1"].values("a")) == [*range(6)]


def test_a_flushed_row_is_on_disk(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver()
    receiver.receive(batch(*(Metric(i, "a", i) for i in range(300))))
    receiver.flush()
    receiver.flush()
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("a") == [*range(300)]


def test_works_in_a_thread_of_its_own(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    """Delivery calls a receiver from its own thread."""

    def deliver() -> None:
        receiver = make_receiver()
        receiver.receive(batch(Metric(1, "a", 1.0)))
        receiver.close("completed")

    thread = threading.Thread(target=deliver)
    thread.start()
    thread.join()
    assert read_runs(run_info.folder)["job-1a2b-site-1"].values("a") == [1.0]


def test_results_name_the_command(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    results = make_receiver().results()
    assert results is not None
    assert results.location == str(run_info.folder / "wandb")
    assert results.command == f"wandb sync {run_info.folder}/wandb/offline-run-*"


def test_disabled_does_nothing(make_receiver: MakeReceiver, run_info: RunInfo) -> None:
    receiver = make_receiver(mode="disabled")
    receiver.receive(batch(Metric(1, "a", 1.0)))
    receiver.flush()
    assert receiver.results() is None
    assert not Path(run_info.folder).exists()


def png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + checksum

    header = (1).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    pixel = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")
