"""ParquetReceiver: puts metrics, parameters and tags into Parquet files, for pandas, Polars, DuckDB and Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fedtrack import Batch, Receiver, ReceiverOptions, Results, RunInfo, Transient
from fedtrack.tracking.records import Metric, Param, Tag

if TYPE_CHECKING:
    from fedtrack_parquet.dataset import Dataset


class ParquetOptions(ReceiverOptions, kw_only=True, forbid_unknown_fields=True):
    """The options that a job can set.

    Attributes:
        folder: The folder of the files, in the folder of the run.
        compression: The compression of their columns.
    """

    folder: str = "parquet"
    compression: Literal["zstd", "snappy", "none"] = "zstd"


class ParquetReceiver(Receiver):
    """Writes a folder of Parquet files with one row for each record, each exactly once.

    Nothing can be appended to a Parquet file, so records are gathered and every ``flush`` writes a new file.
    """

    name = "parquet"
    summary = "Parquet files for pandas, Polars, DuckDB and Spark"
    supports = frozenset({Metric, Param, Tag})
    requires = ("pyarrow",)
    install = "pip install 'fedtrack-parquet[receiver]'"
    Options = ParquetOptions
    options: ParquetOptions

    # Longer than the default of a quarter of a second, to write fewer and larger files.
    gather_seconds = 2.0
    max_records = 50_000

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._dataset: Dataset | None = None

    def open(self, run: RunInfo) -> None:
        """Make the folder, and read which records an earlier process of this run has written."""
        from fedtrack_parquet.dataset import Dataset

        folder = run.folder / self.options.folder
        try:
            self._dataset = Dataset(folder, self.options.compression)
        except OSError as error:
            raise Transient(f"{folder} cannot be used: {error}") from error

    def receive(self, batch: Batch) -> None:
        """Keep the batch's records until the next flush, without those that were stored before."""
        assert self._dataset is not None, "receive() was called before open()"
        self._dataset.add(batch)

    def flush(self) -> None:
        """Write the received records into a new file."""
        if self._dataset is None:
            return
        try:
            self._dataset.write()
        except OSError as error:
            raise Transient(f"{self._dataset.folder} cannot be written: {error}") from error

    def close(self, status: str) -> None:
        """Do nothing, because no file is open between two flushes."""
        self._dataset = None

    def results(self) -> Results | None:
        """Say where the files are, and how to look into them."""
        if self._dataset is None:
            return None
        folder = self._dataset.folder
        return Results(str(folder), f"""duckdb -c "SELECT * FROM '{folder}/*.parquet'\"""")
