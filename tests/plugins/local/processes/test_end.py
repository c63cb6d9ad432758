"""How a process ended, in words that are true, and the part of its log that explains it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack_local.processes.end import ended, last_words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3, "exited with status 3"),
        (-9, "was killed by SIGKILL"),
        (-11, "was killed by SIGSEGV"),
        (-40, "was killed by signal 40"),
    ],
)
def test_an_end_is_named(status: int, words: str) -> None:
    assert ended(status) == words


def log_of(program: str, folder: Path) -> Path:
    """Return the log of a process that Python itself ends, with its own traceback."""
    log = folder / "log.txt"
    with log.open("wb") as file:
        file.write(b"an early line\n" * 50)
        file.flush()
        subprocess.run([sys.executable, "-c", program], stdout=file, stderr=file, check=False)
    return log


@pytest.mark.parametrize(
    ("program", "first", "last"),
    [
        ("int('x')", "Traceback (most recent call last):", "ValueError: invalid literal for int() with base 10: 'x'"),
        ("try:\n  int('x')\nfinally:\n  {}['k']", "Traceback (most recent call last):", "KeyError: 'k'"),
        (
            "try:\n  int('x')\nexcept ValueError as e:\n  raise OSError('no') from e",
            "Traceback (most recent call last):",
            "OSError: no",
        ),
        (
            "raise ExceptionGroup('g', [OSError('a')])",
            "  + Exception Group Traceback (most recent call last):",
            "    +------------------------------------",
        ),
    ],
)
def test_the_last_traceback_is_the_reason_with_what_led_to_it(
    program: str, first: str, last: str, tmp_path: Path
) -> None:
    lines = last_words(log_of(program, tmp_path), 1).splitlines()
    assert (lines[0], lines[-1]) == (first, last)
    assert ("ValueError" in "\n".join(lines)) == ("int('x')" in program)


def test_an_earlier_traceback_is_not_the_reason_of_a_kill(tmp_path: Path) -> None:
    program = "import os, traceback\ntry:\n  int('x')\nexcept ValueError:\n  t.print_exc()\nos.kill(os.getpid(), 9)"
    words = last_words(log_of(program, tmp_path), -9)
    assert words.startswith("an early line\n")  # the last lines as they are, which claim nothing
    assert len(words.splitlines()) == 30


def test_an_independent_earlier_traceback_is_left_out(tmp_path: Path) -> None:
    program = "import traceback\ntry:\n  {}['k']\nexcept KeyError:\n  traceback.print_exc()\nprint(); int('x')"
    words = last_words(log_of(program, tmp_path), 1)
    assert "KeyError" not in words
    assert words.endswith("'x'")


def test_a_log_of_any_content_is_cut(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_bytes(b"\xff" * 3_000_000)
    assert len(last_words(log)) < 21_000
    assert last_words(tmp_path / "none.txt", 1) == ""
