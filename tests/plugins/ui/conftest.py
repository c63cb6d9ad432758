"""A small run with a bit of everything, and the page over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fedtrack.tracking.records import Artifact, Histogram, Image, Param, Text
from fedtrack_ui.app import PageApp
from fedtrack_ui.guard import Guard
from support.journaled import START_NS, JournaledRun

HOSTILE = '<img src=x onerror="window.hacked=1">'
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc0000003010100c9fe92ef"
    "0000000049454e44ae426082"
)
SITES = ("site-1", "site-2", HOSTILE)


def fill(run: JournaledRun, rounds: int = 4) -> None:
    """Log what a federation of three sites logs."""
    for number, site in enumerate(SITES):
        run.log(site, [Param(START_NS, "lr", 0.1 * (number + 1)), Param(START_NS, "batch", 32)])
    for round_ in range(rounds):
        for number, site in enumerate(SITES):
            run.log_values(site, "accuracy", [0.5 + 0.1 * round_ + 0.01 * number], round_)
            run.log_values(site, "train_loss", [2.0 / (1 + round_ * 20 + i) for i in range(20)], round_, 20 * round_)
        run.log_values("server", "accuracy", [0.51 + 0.1 * round_], round_)
        run.log_values("server", "round/seconds", [30.0], round_, 40)
    run.log("site-1", [Image(START_NS, "digits", PICTURE, 1), Text(START_NS, "note", "<b>bold</b>")], 0)
    run.log(
        "site-1", [Histogram(START_NS, "weights", (0.0, 1.0, 2.0), (3.0, 5.0)), Artifact(START_NS, "a/b.bin", b"x")]
    )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[JournaledRun]:
    """A completed run whose journal is still open for writing."""
    made = JournaledRun(tmp_path / "workspace")
    fill(made)
    made.end(4, SITES, key="accuracy")
    yield made
    made.journal.close()


@pytest.fixture
def client(run: JournaledRun) -> Iterator[TestClient]:
    """The page over the run."""
    page = PageApp(run.base)
    with TestClient(Guard(page.asgi()), base_url="http://127.0.0.1") as found:
        yield found
    page.close()
