"""MediaWriter counts what it cannot log, and logs files and folders."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from fedtrack.testing import MemoryLog
from fedtrack.tracking.media_writer import MediaWriter
from fedtrack.tracking.records import Artifact, Rejected


@pytest.fixture
def writer(memory_log: MemoryLog) -> MediaWriter:
    return MediaWriter()


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
