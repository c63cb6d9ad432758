"""ParquetReceiver keeps the laws of a fedtrack receiver, and other programs can read its files."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fedtrack import Batch, RunInfo, Transient
from fedtrack.testing import ReceiverContract, Stored
from fedtrack.tracking.records import KINDS, Metric

from fedtrack_parquet import ParquetReceiver


class TestParquetReceiver(ReceiverContract):
    """Every law; those about kinds that the receiver does not support are skipped."""

    def make_receiver(self) -> ParquetReceiver:
        return ParquetReceiver()

    def read(self, folder: Path) -> list[Stored]:
        found = []
        for file in sorted((folder / "parquet").glob("*.parquet")):
            table = pq.read_table(file)
            times = table["time"].cast("int64").to_pylist()
            for row, time_ns in zip(table.drop_columns("time").to_pylist(), times, strict=True):
                value = row["value"] if row["kind"] == "metric" else row["text"]
                kind = KINDS[row["kind"]]
                found.append(Stored(row["site"], row["key"], value, row["step"], time_ns, kind))
        return found


def batch(first: int, count: int) -> Batch:
    records = [Metric(time_ns=seq, key="loss", value=seq / 4, step=seq) for seq in range(first, first + count)]
    return Batch("site-1", "0" * 32, range(first, first + count), records)


def test_a_flush_writes_one_file_and_an_empty_one_none(run_info: RunInfo) -> None:
    receiver = ParquetReceiver(folder="table", compression="snappy")
    receiver.open(run_info)
    receiver.receive(batch(0, 3))
    receiver.receive(batch(3, 3))
    receiver.flush()
    receiver.flush()
    receiver.close("completed")
    (file,) = (run_info.folder / "table").iterdir()
    metadata = pq.read_metadata(file)
    assert metadata.num_rows == 6
    assert metadata.row_group(0).column(0).compression == "SNAPPY"


def test_a_full_disk_is_transient_and_loses_nothing(run_info: RunInfo) -> None:
    receiver = ParquetReceiver()
    receiver.open(run_info)
    receiver.receive(batch(0, 3))
    folder = run_info.folder / "parquet"
    folder.rmdir()  # has the same effect as a disk that cannot be written
    with pytest.raises(Transient, match="cannot be written"):
        receiver.flush()
    folder.mkdir()
    receiver.flush()
    assert pq.read_table(folder)["step"].to_pylist() == [0, 1, 2]


def test_a_file_that_was_not_finished_is_not_read(run_info: RunInfo) -> None:
    folder = run_info.folder / "parquet"
    folder.mkdir()
    (folder / "part-000000.unfinished").write_bytes(b"PAR1 and then the power went")
    receiver = ParquetReceiver()
    receiver.open(run_info)
    receiver.receive(batch(0, 2))
    receiver.flush()
    assert pq.read_table(folder / "part-000000.parquet").num_rows == 2


def test_results_name_the_folder(run_info: RunInfo) -> None:
    receiver = ParquetReceiver()
    assert receiver.results() is None
    receiver.open(run_info)
    results = receiver.results()
    assert results is not None
    assert results.location == str(run_info.folder / "parquet")
