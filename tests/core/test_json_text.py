"""JsonText: whatever a file holds, a reader gets a value or an error of one kind."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from fedtrack import json_text
from fedtrack.errors import FedtrackError
from fedtrack.json_text import decode_json, read_json_file
from fedtrack.runs.kept_receivers import RECEIVERS_FILE, read_receivers
from fedtrack.runs.workspace import read_record

pytestmark = pytest.mark.threat("T4", "T12")


class Value(msgspec.Struct):
    a: int = 1


DEEP = b'{"a": 1, "more": ' + b"[" * 200_000
HOSTILE = (DEEP, DEEP + b"]" * 200_000 + b"}", b'{"a": "\xff\xfe"}', b"\xff\xfe{\0}\0", b"", b'{"a": 1e999}', b"[" * 9)


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_not_valid_is_an_error_of_one_kind(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_json(data, Value)
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(msgspec.DecodeError):
        read_json_file(tmp_path / "file", Value)


@pytest.mark.parametrize("data", HOSTILE, ids=range(len(HOSTILE)))
def test_readers_of_a_run_say_one_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(data)
    assert read_record(tmp_path) is None
    (tmp_path / RECEIVERS_FILE).write_bytes(data)
    with pytest.raises(FedtrackError, match="cannot be read"):
        read_receivers(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "LARGEST", 100)
    (tmp_path / "file").write_bytes(b" " * 98 + b"{}")
    assert read_json_file(tmp_path / "file", Value) == Value()
    (tmp_path / "file").write_bytes(b" " * 99 + b"{}")
    with pytest.raises(msgspec.DecodeError, match="more than 100 bytes"):
        read_json_file(tmp_path / "file", Value)


def test_a_value_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'{"a": 3, "later": []}')
    assert read_json_file(tmp_path / "file", Value) == Value(3)
