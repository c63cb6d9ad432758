"""Fixtures for tests of a metric's path: a reader of spool folders, and a journal."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.reader import DamagedBytes, SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.tracking.records import AnyRecord, decode
from support.delivering import Bench
from support.forwarding import Site
from support.spooled import PUTS, Put

Stored = dict[str, list[tuple[int, AnyRecord]]]


@pytest.fixture
def read_spool() -> Callable[[Path], Stored]:
    """Return what reads every stream of a folder: (number, record) in order; damage fails the test."""

    def read(folder: Path) -> Stored:
        found: Stored = {}
        for stream, segments in list_streams(folder).items():
            reader = SpoolReader(stream, pass_bytes=2**62)
            records = found[stream] = []
            for part in reader.read(segments, ended=True):
                assert not isinstance(part, DamagedBytes), part
                records += [(seq, decode(payload)) for seq, payload in frames.split(part.body)]
        return found

    return read


@pytest.fixture(params=list(PUTS))
def put(request: pytest.FixtureRequest) -> Put:
    """Return each of the two ways in which a writer stores a metric."""
    return PUTS[request.param]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture
def site(tmp_path: Path, journal: Journal) -> Site:
    return Site(tmp_path, journal)
