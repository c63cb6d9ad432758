"""Machine: GPUs as nvidia-smi says, folders without room or rights, and a clock that cannot be right."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from fedtrack.cli.diagnosis import machine
from fedtrack.cli.diagnosis.finding import Level


@pytest.mark.parametrize(
    ("script", "level", "said"),
    [
        ("echo 'H200, 141 GiB, 580.1'; echo 'H200, 141 GiB, 580.1'", Level.OK, ["H200, 141 GiB, 580.1"] * 2),
        ("echo 'Driver/library version mismatch'; exit 18", Level.NOTE, ["version mismatch"]),
        ("exit 9", Level.NOTE, ["exit status 9"]),
        ("sleep 9", Level.NOTE, ["gives no answer"]),
        (None, Level.OK, ["not installed"]),
    ],
)
def test_gpus_are_those_of_nvidia_smi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, level: Level, said: list[str]
) -> None:
    monkeypatch.setattr(machine, "_GPU_SECONDS", 0.3 if script == "sleep 9" else 20.0)
    if script is not None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nexec 2>&1\n{script.replace('sleep', 'exec /bin/sleep')}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = list(machine.gpus())
    assert [one.level for one in found] == [level] * len(said)
    assert all(words in one.found for one, words in zip(found, said, strict=True))


def test_a_folder_with_room_is_right_also_before_it_is_made(tmp_path: Path) -> None:
    assert machine.folder("x", tmp_path, "y").level is Level.OK
    found = machine.folder("x", tmp_path / "a" / "b", "y")
    assert (found.level, found.remedy) == (Level.OK, "")
    assert "not made yet" in found.found
    assert not (tmp_path / "a").exists()


def test_a_folder_without_room_needs_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_FREE", 1 << 80)
    found = machine.folder("x", tmp_path, "free space")
    assert (found.level, found.remedy) == (Level.ACTION, "free space")


def test_a_file_in_the_place_of_a_folder_needs_action(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert machine.folder("x", tmp_path / "file" / "below", "y").level is Level.ACTION


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_of_others_needs_action(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in machine.folder("x", tmp_path / "new", "y").found


def test_a_tmpdir_that_is_passed_over_needs_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert [one.level for one in machine.temporary_folder()] == [Level.OK]
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    first, second = machine.temporary_folder()
    assert (first.name, first.level, second.level) == ("TMPDIR", Level.ACTION, Level.OK)


def test_a_clock_before_the_installation_needs_action() -> None:
    assert machine.clock().level is Level.OK
    assert machine.clock(0.0).level is Level.ACTION
    assert machine.clock(0.0).found.startswith("1970-01-01")
