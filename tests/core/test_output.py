"""Output that nobody reads is no failure of a command that works, and ends a listing in silence."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.output import READER_LEFT, TolerantStream, tolerant


class Broken(io.StringIO):
    """A stream whose every call fails."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(errno.EIO, "the terminal is gone"), OSError(errno.EBADF, ""), ValueError()]
)
def test_a_stream_whose_reader_left_accepts_everything(error: Exception) -> None:
    stream = TolerantStream(Broken(error))
    assert stream.write("text") == 4
    stream.writelines(["a", "b"])
    stream.flush()
    assert stream.isatty() is False


def test_a_listing_leaves() -> None:
    with pytest.raises(SystemExit) as caught:
        TolerantStream(Broken(BrokenPipeError()), leave=True).write("text")
    assert caught.value.code == READER_LEFT


def test_text_that_cannot_be_encoded_is_an_error_still() -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    with pytest.raises(UnicodeEncodeError):
        TolerantStream(ascii_only).write("é")


def test_a_process_without_output_can_print() -> None:
    print("nothing", file=tolerant(None))


def command(shell: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"FEDTRACK": f"{sys.executable} -m fedtrack"}
    return subprocess.run(
        ["bash", "-c", shell], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_listing_that_is_cut_ends_as_git_log_does(tmp_path: Path) -> None:
    ended = command("$FEDTRACK receivers list --json | head -c 1; exit ${PIPESTATUS[0]}", tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) in ((0, "[", ""), (READER_LEFT, "[", ""))
    ended = command("set -o pipefail; (sleep 1; $FEDTRACK receivers list) | true; exit ${PIPESTATUS[0]}", tmp_path)
    assert (ended.returncode, ended.stderr) == (READER_LEFT, "")


def test_a_listing_without_standard_output_is_silent(tmp_path: Path) -> None:
    ended = command("$FEDTRACK plugins list >&-", tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("closed", ["2>&-", "2>&1 >&- | cat", "<&- >&- 2>&-"])
def test_an_error_keeps_its_exit_code_without_standard_error(tmp_path: Path, closed: str) -> None:
    ended = command(f"$FEDTRACK run nothing-here {closed}; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert ended.returncode == 2
