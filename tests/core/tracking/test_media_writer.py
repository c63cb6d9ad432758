"""MediaWriter counts what it cannot log, and logs files and folders."""

from __future__ import annotations

import logging
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedtrack.testing import MemoryLog
from fedtrack.tracking.media_writer import MediaWriter
from fedtrack.tracking.records import Artifact, Param, Rejected


@pytest.fixture
def writer(memory_log: MemoryLog) -> MediaWriter:
    return MediaWriter()


@dataclass
class Settings:
    lr: float
    layers: tuple[int, ...] = (8, 8)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"lr": 0.1, "data": {"seed": 3, "more": {"x": None}}}, {"lr": 0.1, "data/seed": 3, "data/more/x": None}),
        (Namespace(lr=0.1, name="a"), {"lr": 0.1, "name": "a"}),
        (Settings(0.1), {"lr": 0.1, "layers": "(8, 8)"}),
        (
            {"model": Settings(0.1), "kind": Settings},
            {"model/lr": 0.1, "model/layers": "(8, 8)", "kind": str(Settings)},
        ),
    ],
)
def test_params_of_any_shape(writer: MediaWriter, memory_log: MemoryLog, given: Any, expected: dict[str, Any]) -> None:
    writer.record_params(given)
    assert {r.key: r.value for r in memory_log.records if isinstance(r, Param)} == expected
    assert len(memory_log.records) == len(expected)


def test_params_that_contain_themselves_end(writer: MediaWriter, memory_log: MemoryLog) -> None:
    params: dict[str, Any] = {"lr": 0.1}
    params["again"] = params
    writer.record_params(params)
    assert 1 < len(memory_log.records) < 100


def test_a_folder_is_all_files_below_it(writer: MediaWriter, memory_log: MemoryLog, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "data").mkdir(parents=True)
    (folder / "MLmodel").write_bytes(b"1")
    (folder / "data" / "weights").write_bytes(b"2")
    (folder / "link").symlink_to("/etc/passwd")
    writer.record_folder(folder, "models/")
    assert [(r.path, r.data) for r in memory_log.records if isinstance(r, Artifact)] == [
        ("models/MLmodel", b"1"),
        ("models/data/weights", b"2"),
    ]
    assert len(memory_log.records) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda writer: writer.record_pixels("x", object()),
        lambda writer: writer.record_figure("x", None),
        lambda writer: writer.record_video("x", [1]),
        lambda writer: writer.record_boxes("x", None, None),
        lambda writer: writer.record_table("x", 3, "x.json"),
        lambda writer: writer.record_file("/does/not/exist"),
        lambda writer: writer.record_folder(__file__),
        lambda writer: writer.record_params(3),
        lambda writer: writer.record_ignored("watch()", "it cannot be logged"),
    ],
)
def test_what_cannot_be_logged_is_counted_and_said_once(
    writer: MediaWriter, memory_log: MemoryLog, caplog: pytest.LogCaptureFixture, call: Any
) -> None:
    with caplog.at_level(logging.WARNING, logger="fedtrack"):
        call(writer)
        call(writer)
    assert [type(record) for record in memory_log.records] == [Rejected] * 2
    assert len(caplog.records) == 1
