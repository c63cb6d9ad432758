"""Transaction logs: the ``.wandb`` file of a run, to which wandb-core writes every record first.

The file has a 7-byte header and blocks of 32 KiB with chunks: CRC-32, length and kind of the chunk, then its bytes. A
record is a single chunk, or a first chunk, any number of middle chunks and a last chunk.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedtrack_wandb.names import STEP_KEY

FILE_HEADER = 7
BLOCK = 32 * 1024
_CHUNK = struct.Struct("<IHB")
_WHOLE, _LAST = 1, 4


class TransactionLog:
    """A ``.wandb`` file that may still be growing.

    Args:
        path: The file, which need not exist yet.

    Attributes:
        rows: How many rows of the history were found so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._position = FILE_HEADER

    def update(self) -> int:
        """Read the new records since the last call and return ``rows``."""
        self.rows += sum(record.WhichOneof("record_type") == "history" for record in self.records())
        return self.rows

    def records(self) -> Iterator[Any]:
        """Yield the records (``wandb_internal_pb2.Record``) after the last one that was read."""
        from wandb.proto.wandb_internal_pb2 import Record

        for payload in self._payloads():
            yield Record.FromString(payload)

    def _payloads(self) -> Iterator[bytes]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        start, position, payload = self._position, self._position, b""
        while True:
            position += _padding(position)
            chunk = _chunk(data, position - start)
            if chunk is None:  # the end, or a part of a chunk that is being written
                return
            kind, content = chunk
            payload += content
            position += _CHUNK.size + len(content)
            if kind in (_WHOLE, _LAST):
                self._position = position
                yield payload
                payload = b""


def count_points(folder: Path, run_id: str) -> int:
    """Return how many metric points are in the offline files of a run in ``folder``."""
    # Not in "latest-run", which is a link to one of them.
    files = sorted(folder.glob(f"*run-*/run-{run_id}.wandb"))
    records = (record for file in files for record in TransactionLog(file).records())
    return sum(
        _is_point(item)
        for record in records
        if record.WhichOneof("record_type") == "history"
        for item in record.history.item
    )


def _is_point(item: Any) -> bool:
    key = item.nested_key[0] if item.nested_key else item.key
    if len(item.nested_key) > 1 or key.startswith("_") or key == STEP_KEY:
        return False  # one of W&B's own keys, the step, or a field of an image or a histogram
    value = json.loads(item.value_json)
    return isinstance(value, int | float) or value in ("NaN", "Infinity", "-Infinity")


def _padding(position: int) -> int:
    left = BLOCK - position % BLOCK
    return left if left < _CHUNK.size else 0


def _chunk(data: bytes, offset: int) -> tuple[int, bytes] | None:
    if offset + _CHUNK.size > len(data):
        return None
    checksum, size, kind = _CHUNK.unpack_from(data, offset)
    content = data[offset + _CHUNK.size : offset + _CHUNK.size + size]
    if len(content) < size or kind == 0 or zlib.crc32(content, zlib.crc32(bytes([kind]))) != checksum:
        return None
    return kind, content
