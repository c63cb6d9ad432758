"""Reads the files that W&B's SDK has written, without using the plugin's reader."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

Json = dict[str, Any]


@dataclass
class OfflineRun:
    """One run id, from every file that it was written to, oldest first."""

    files: list[Path] = field(default_factory=list)
    run: Any = None
    rows: list[Json] = field(default_factory=list)
    config: Json = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def values(self, key: str) -> list[Any]:
        """The values of one key, in the order in which they arrived."""
        return [row[key] for row in self.rows if key in row]


def read_runs(folder: Path) -> dict[str, OfflineRun]:
    """Return the runs below ``<folder>/wandb``, by run id."""
    runs: dict[str, OfflineRun] = {}
    for file in sorted(folder.glob("wandb/*run-*/run-*.wandb")):
        run = runs.setdefault(file.stem.removeprefix("run-"), OfflineRun())
        run.files.append(file)
        for record in read_records(file):
            _take(run, record)
    return runs


def read_records(file: Path) -> Iterator[Any]:
    """Yield the records of one ``.wandb`` file: LevelDB's log format with a header of 7 bytes."""
    data = file.read_bytes()
    assert data[:7] == b":W&B" + struct.pack("<HB", 0xBEE1, 0)
    position, payload = 7, b""
    while position + 7 <= len(data):
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        checksum, length, kind = struct.unpack_from("<IHB", data, position)
        chunk = data[position + 7 : position + 7 + length]
        if len(chunk) < length:
            return
        assert zlib.crc32(chunk, zlib.crc32(bytes([kind]))) == checksum
        position, payload = position + 7 + length, payload + chunk
        if kind in (1, 4):
            yield Record.FromString(payload)
            payload = b""


def _take(run: OfflineRun, record: Any) -> None:
    match record.WhichOneof("record_type"):
        case "history":
            run.rows.append({_key(item): json.loads(item.value_json) for item in record.history.item})
        case "run":
            run.run = record.run
            run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        case "config":
            run.config |= {_key(item): json.loads(item.value_json) for item in record.config.update}
        case "metric":
            run.metrics[record.metric.name] = record.metric
        case "exit":
            run.exit_code = record.exit.exit_code


def _key(item: Any) -> str:
    return item.key or ".".join(item.nested_key)
