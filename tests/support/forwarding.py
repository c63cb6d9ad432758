"""Sites to forward from, and the events that have arrived."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, decode
from fedtrack.transport.forward_pass import ForwardPass
from fedtrack.transport.spool_source import SpoolSource


class Site:
    """A site's spool and the way from it to the journal."""

    def __init__(self, root: Path, journal: Journal, name: str = "a") -> None:
        self.name = name
        self.folder = root / name
        self.spool = Spool(self.folder, segment_bytes=1_000)
        self.source = SpoolSource(name, self.folder, journal, BlobStore(root / "server-blobs"))

    def log(self, *values: float) -> None:
        for value in values:
            self.spool.append(Metric(1, "loss", float(value)))

    def segments(self) -> list[Path]:
        return sorted(self.folder.glob("*.spool"))


def forward(source: SpoolSource) -> bool:
    """Move what is readable now into the journal; return whether anything was found, so that there may be more."""
    one = ForwardPass()
    one.run([source])
    for failure in one.failures.values():
        raise failure
    return one.found


def stored(journal: Journal, site: str = "a") -> list[Any]:
    records = []
    for batch in journal.read(0, limit_bytes=2**40):
        if batch.site == site:
            records += [decode(payload) for _, payload in frames.split(batch.body)]
    return [record.value if isinstance(record, Metric) else record for record in records]


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def raiser(error: BaseException) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail
