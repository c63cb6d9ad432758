"""Fixtures of the tracking tests: reading back what a spool folder holds."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedtrack.tracking import frames
from fedtrack.tracking.records import AnyRecord, decode
from fedtrack.tracking.segments import list_streams
from fedtrack.tracking.spool_reader import DamagedBytes, SpoolReader

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
