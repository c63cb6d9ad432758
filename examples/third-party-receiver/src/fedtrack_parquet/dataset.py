"""Dataset: a folder of Parquet files that grows by one file at a time and has no row twice."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fedtrack import Batch
from fedtrack.tracking.records import Metric, Param, Record, Tag

#: One row for each record. ``value`` holds a metric's number and ``text`` a parameter's or tag's value.
SCHEMA = pa.schema(
    [
        ("site", pa.string()),
        ("kind", pa.dictionary(pa.int8(), pa.string())),
        ("key", pa.string()),
        ("value", pa.float64()),
        ("text", pa.string()),
        ("step", pa.int64()),
        ("time", pa.timestamp("ns", tz="UTC")),
        ("stream", pa.string()),
        ("seq", pa.int64()),
    ]
)


class Dataset:
    """The files of one run.

    Args:
        folder: The folder, which is created if necessary; existing files are adopted.
        compression: ``zstd``, ``snappy`` or ``none``.

    Raises:
        OSError: The folder cannot be created or read.
    """

    def __init__(self, folder: Path, compression: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._compression = compression
        self._rows: list[dict[str, Any]] = []
        # Records of a stream come in order, so the last number tells which records are stored already.
        self._last: dict[tuple[str, str], int] = {}
        files = sorted(folder.glob("part-*.parquet"))
        self._next = int(files[-1].stem.removeprefix("part-")) + 1 if files else 0
        for file in files:
            self._remember(file)

    def add(self, batch: Batch) -> None:
        """Keep the records that are not stored yet for the next ``flush``."""
        place = (batch.site, batch.stream)
        for seq, record in zip(batch.seqs, batch.records, strict=True):
            if seq > self._last.get(place, -1):
                self._rows.append(_row(batch, seq, record))
                self._last[place] = seq

    def write(self) -> None:
        """Write the records that were added since the last call; a reader never sees a part of a file.

        Raises:
            OSError: The file cannot be written; the next call tries again.
        """
        if not self._rows:
            return
        target = self.folder / f"part-{self._next:06}.parquet"
        unfinished = target.with_suffix(".unfinished")
        table = pa.Table.from_pylist(self._rows, SCHEMA)
        pq.write_table(table, unfinished, compression=self._compression)
        os.replace(unfinished, target)
        self._rows = []
        self._next += 1

    def _remember(self, file: Path) -> None:
        table = pq.read_table(file, columns=["site", "stream", "seq"])
        highest = table.group_by(["site", "stream"]).aggregate([("seq", "max")])
        for row in highest.to_pylist():
            place = (row["site"], row["stream"])
            self._last[place] = max(row["seq_max"], self._last.get(place, -1))


def _row(batch: Batch, seq: int, record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {"site": batch.site, "stream": batch.stream, "seq": seq, "time": record.time_ns}
    match record:
        case Metric():
            return row | {"kind": "metric", "key": record.key, "value": record.value, "step": record.step}
        case Param():
            return row | {"kind": "param", "key": record.key, "text": str(record.value)}
        case Tag():
            return row | {"kind": "tag", "key": record.key, "text": record.value}
    raise TypeError(f"{type(record).__name__} is no kind that ParquetReceiver supports")
