"""A plugin with a receiver that keeps lines in a file, and marks in shared memory when it is at work.

It is installed by ``collect_campaign``, so that a deliverer finds it. It imports nothing of the tests.
"""

import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from fedtrack import Batch, Receiver, ReceiverOptions, RunInfo, hookimpl
from fedtrack.tracking.records import Metric


class MarkedOptions(ReceiverOptions, kw_only=True):
    """The options.

    Attributes:
        cells: The file of the shared memory.
        cell: The number of the cell of eight bytes that is 1 while the receiver works.
    """

    cells: str
    cell: int


class MarkedReceiver(Receiver):
    """Appends a line per record to one file, and knows from the file what it has."""

    name = "marked"
    summary = "Lines in a file."
    supports = frozenset({Metric})
    gather_seconds = 0.0
    Options = MarkedOptions
    options: MarkedOptions

    def open(self, run: RunInfo) -> None:
        """Read what an earlier process has written; what follows the last newline was torn by a kill."""
        path = run.folder / "lines"
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        self._last: dict[tuple[str, str], int] = {}
        for line in whole.decode().splitlines():
            site, stream, seq, _ = line.split()
            self._last[site, stream] = int(seq)
        self._file = path.open("ab")
        self._file.truncate(len(whole))
        with Path(self.options.cells).open("r+b") as file:
            self._cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")
        self._cells[self.options.cell] = 0

    def receive(self, batch: Batch) -> None:
        """Write what is new."""
        self._cells[self.options.cell] = 1
        key = batch.site, batch.stream
        for seq, record in zip(batch.seqs, batch.records, strict=True):
            if seq > self._last.get(key, 0):
                self._file.write(f"{batch.site} {batch.stream} {seq} {record.step}\n".encode())  # type: ignore[union-attr]
                self._last[key] = seq

    def flush(self) -> None:
        """Let the file outlive this process."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._cells[self.options.cell] = 0


@hookimpl
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    """Provide the receiver."""
    return (MarkedReceiver,)
