"""The output of TensorBoard's own server, with its default loader, which reads while the receiver writes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack import Receiver, RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.pixels import png_of
from fedtrack.tracking.records import Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_tensorboard import TBAnalyticsReceiver

NOW = 1_700_000_000_250_000_000

Feed = Callable[..., None]


@pytest.fixture
def job(request: pytest.FixtureRequest, tensorboard: Any) -> tuple[TBAnalyticsReceiver, str]:
    """A receiver below the server's folder, and the prefix of the runs that the server shows for it."""
    name = request.node.name
    folder: Path = tensorboard.logdir / name
    receiver = TBAnalyticsReceiver()
    receiver.open(RunInfo("run-1", "job", folder, "server", (), 1, BlobStore(folder / "blobs")))
    return receiver, f"{name}/tb_events/"


def scalars(steps: list[int | None], tag: str = "loss", start: int = 0) -> list[Metric]:
    return [Metric(NOW + n * 1_000_000, tag, float(n), step) for n, step in enumerate(steps, start)]


def test_thousands_of_points_with_the_sites_wall_time(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    for site in ("site-1", "site-2", "server"):
        for first in range(0, 5000, 1000):
            feed(receiver, scalars([*range(first, first + 1000)], start=first), site, first)
    expected = [[(NOW + n * 1_000_000) / 10**9, n, n] for n in range(5000)]
    for site, tag in (("site-1", "loss"), ("site-2", "loss"), ("server", "global/loss")):
        tensorboard.until(lambda site=site, tag=tag: tensorboard.scalars(prefix + site, tag), expected)


def test_every_point_of_steps_that_restart_each_round(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    for current_round in range(4):
        first = current_round * 100
        feed(receiver, scalars([*range(100)], start=first), first=first)
    for current_round, run in enumerate(["site-1", *(f"site-1/pass-{n}" for n in (2, 3, 4))]):
        expected = [[step, current_round * 100 + step] for step in range(100)]
        tensorboard.until(lambda run=run: [p[1:] for p in tensorboard.scalars(prefix + run, "loss")], expected)


def test_stragglers_delete_nothing(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    feed(receiver, scalars([0, 1, 4]))
    tensorboard.until(lambda: [p[1] for p in tensorboard.scalars(prefix + "site-1", "loss")], [0, 1, 4])
    feed(receiver, scalars([2, 5, 3, 6, 5]), first=3)
    tensorboard.until(lambda: [p[1] for p in tensorboard.scalars(prefix + "site-1", "loss")], [0, 1, 4, 5, 6])
    late = prefix + "site-1/pass-2"
    tensorboard.until(lambda: [p[1] for p in tensorboard.scalars(late, "loss")], [2, 3, 5])


def test_no_step_negative_steps_and_values_that_are_no_numbers(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    records = [
        *scalars([None, None, None], "counted"),
        *scalars([-(2**63), -5, 2**63 - 1], "wide"),
        Metric(NOW, "odd", math.nan, 0),
        Metric(NOW, "odd", math.inf, 1),
        Metric(NOW, "odd", -math.inf, 2),
        Metric(NOW, "odd", 0.5, 3),
    ]
    feed(receiver, records)
    run = prefix + "site-1"
    tensorboard.until(lambda: [p[1] for p in tensorboard.scalars(run, "counted")], [0, 1, 2])
    tensorboard.until(lambda: [p[1] for p in tensorboard.scalars(run, "wide")], [-(2**63), -5, 2**63 - 1])
    # NaN is unequal to itself, so the answer is compared as text.
    odd = "[nan, inf, -inf, 0.5]"
    tensorboard.until(lambda: str([float(p[2]) for p in tensorboard.scalars(run, "odd")]), odd)


def test_a_restarted_receiver_goes_on_in_the_same_runs(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    feed(receiver, scalars([*range(10)]))
    tensorboard.until(lambda: len(tensorboard.scalars(prefix + "site-1", "loss")), 10)
    other: Receiver = TBAnalyticsReceiver()
    folder = tensorboard.logdir / prefix.split("/")[0]
    other.open(RunInfo("run-1", "job", folder, "server", (), 1, BlobStore(folder / "blobs")))
    feed(other, scalars([*range(20)]))
    tensorboard.until(lambda: [p[1] for p in tensorboard.scalars(prefix + "site-1", "loss")], [*range(20)])
    assert not (folder / "tb_events/site-1/pass-2").exists()


def test_images_texts_and_histograms(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    run = prefix + "site-1"
    png = png_of(np.arange(24, dtype=np.uint8).reshape(2, 4, 3))
    records: list[Record] = [
        Image(NOW, "digits", png, 7),
        Text(NOW, "report", "all **well**", 7),
        Histogram(NOW, "weights", (0.0, 1.0, 2.0, 3.0, 4.0), (0.0, 5.0, 6.0, 0.0), 7),
    ]
    feed(receiver, records)

    def images() -> Any:
        found = tensorboard.get("data/plugin/images/images", run=run, tag="digits", sample=0)
        return [(image["step"], tensorboard.image(image["query"])) for image in found]

    tensorboard.until(images, [(7, png)])
    text = tensorboard.get("data/plugin/text/text", run=run, tag="report")
    assert [(entry["step"], entry["text"]) for entry in text] == [(7, "<p>all <strong>well</strong></p>")]
    histogram = tensorboard.get("data/plugin/histograms/histograms", run=run, tag="weights")
    assert histogram == [[NOW / 10**9, 7, [[1.0, 2.0, 5.0], [2.0, 3.0, 6.0]]]]


def test_parameters_and_tags_as_text_and_as_hparams(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    run = prefix + "site-1"
    first = [
        Param(NOW, "lr", 0.5),
        Param(NOW, "opt", "adam *fast*"),
        Tag(NOW, "host", "a"),
        Param(NOW, "lr", 0.25),
    ]
    feed(receiver, [*first, Tag(NOW, "host", "<b>b</b>"), *scalars([0])])
    receiver.flush()

    def text(tag: str) -> Any:
        found = tensorboard.get("data/plugin/text/text", run=run, tag=tag)
        return [(entry["step"], entry["text"]) for entry in found]

    tensorboard.until(lambda: text("params/lr"), [(0, "<pre><code>0.25\n</code></pre>")])
    assert text("params/opt") == [(0, "<pre><code>adam *fast*\n</code></pre>")]
    assert text("tags/host") == [(0, "<pre><code>&lt;b&gt;b&lt;/b&gt;\n</code></pre>")]
    wanted = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN"], "colParams": [], "sliceSize": 100}

    def hparams() -> Any:
        groups = tensorboard.post("data/plugin/hparams/session_groups", wanted)["sessionGroups"]
        sessions = {session["name"]: group for group in groups for session in group["sessions"]}
        return sessions.get(run, {}).get("hparams")

    tensorboard.until(hparams, {"lr": 0.25, "opt": "adam *fast*"})


def test_one_tag_of_two_kinds_and_names_that_are_no_file_names(job: Any, tensorboard: Any, feed: Feed) -> None:
    receiver, prefix = job
    tag = "../loss ü/\u202e %2F"
    feed(receiver, [*scalars([5], tag), Text(NOW, tag, "words", 6), *scalars([6], tag)], site="../évil/site")
    run = prefix + "%2E.%2F%C3%A9vil%2Fsite"
    tensorboard.until(lambda: [p[1] for p in tensorboard.scalars(run, tag)], [5, 6])

    def words() -> Any:
        return [e["text"] for e in tensorboard.get("data/plugin/text/text", run=run + "/pass-2", tag=tag)]

    tensorboard.until(words, ["<p>words</p>"])
