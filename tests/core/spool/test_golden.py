"""Golden files of format 2: what is written is what they hold, byte for byte, and they are read exactly, for ever.

``python tests/core/spool/test_golden.py`` writes them; that is done once for a format, and never again.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.counter_page import page_bytes, page_path, read_page
from fedtrack.spool.hosted import prefix
from fedtrack.spool.identity import SpoolIdentity, read_identity, write_identity
from fedtrack.spool.reader import SpoolReader
from fedtrack.spool.segments import list_streams
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.counts import Counts
from fedtrack.tracking.records import (
    AnyRecord,
    Artifact,
    BlobRef,
    Control,
    Gap,
    Histogram,
    Image,
    Metric,
    Param,
    Rejected,
    RoundMark,
    Tag,
    Text,
    decode,
    encode,
)
from fedtrack.transport.forward_pass import ForwardPass
from fedtrack.transport.shared_source import SharedSource

DATA = Path(__file__).parents[2] / "data" / "format-2"
STREAM = "0123456789abcdef0123456789abcdef"
SHARED = "fedcba9876543210fedcba9876543210"
CREATED = 1_700_000_000_000_000_000

#: The first segment begins in round 2, of which its header tells, and the second one outside rounds.
FIRST: list[AnyRecord] = [
    Metric(CREATED, "train/loss", 0.1, 3),
    Metric(CREATED + 1, "val accuracy, é", float("-inf"), None, 250),
    Param(2, "lr", 0.001),
    Param(2, "layers", 12),
    RoundMark(2, 3),
    Param(2, "nesterov", True),
    Param(2, "schedule", None),
    Tag(3, "team", "north"),
    Text(4, "notes", "first line\nsecond line", -5),
    RoundMark(4, None),
    Text(4, "notes", BlobRef("ab" * 32, 40_000)),
    Image(5, "sample", b"\x89PNG", 1, "png"),
]
SECOND: list[AnyRecord] = [
    Histogram(6, "weights", (0.0, 0.5, 1.0), (3.0, 4.0), 2**40),
    Artifact(7, "models/best.bin", b"\0\1\2"),
    Rejected(8, "'flag'", "the value True is a bool; a metric is a number"),
    Gap(9, 17, "No space left on device (errno 28)"),
]
#: A control record that this version does not know, as a later one may write it.
UNKNOWN = b"\x92\x7f\x0a"
HOSTED: list[tuple[str, AnyRecord]] = [
    ("site-1", RoundMark(1, 0)),
    ("site-1", Metric(1, "loss", 1.0, 0)),
    ("site-2", Metric(2, "loss", 2.0, 0)),
    ("site-1", Metric(3, "loss", 3.0, 1)),
    ("site-2", RoundMark(4, 1)),
    ("site-2", Metric(4, "loss", 4.0, 1)),
]


def numbered(payloads: list[bytes], stream: str, first: int) -> bytes:
    """Return frames; a number is left out after the third: a call that was interrupted had claimed it."""
    salt = frames.salt_of(stream)
    return b"".join(frames.frame(first + i + (i > 2), payload, salt) for i, payload in enumerate(payloads))


def files() -> dict[str, bytes]:
    """Return what a spool of format 2 holds, by name."""
    stream, shared = bytes.fromhex(STREAM), bytes.fromhex(SHARED)
    second = len(FIRST) + 2
    return {
        f"{STREAM}-{1:016x}.spool": frames.header(stream, 1, CREATED, round=2)
        + numbered([encode(record) for record in FIRST], STREAM, 1),
        f"{STREAM}-{second:016x}.spool": frames.header(stream, second, CREATED + 5, frames.CONTINUES)
        + numbered([*(encode(record) for record in SECOND), UNKNOWN], STREAM, second),
        f"{STREAM}.counts": page_bytes(STREAM, Counts(17, 4, 1)),
        f"{SHARED}-{1:016x}.spool": frames.header(shared, 1, CREATED)
        + numbered([prefix(site) + encode(record) for site, record in HOSTED], SHARED, 1),
        f"{SHARED}.counts": page_bytes(SHARED, Counts()),
    }


@pytest.mark.parametrize("name", [*files(), "spool.json"])
def test_what_is_written_is_the_golden_file(tmp_path: Path, name: str) -> None:
    write_identity(tmp_path, SpoolIdentity("golden", "site-1"))
    written = files() | {"spool.json": (tmp_path / "spool.json").read_bytes()}
    assert written[name] == (DATA / name).read_bytes()


def test_the_records_are_read_exactly(tmp_path: Path, read_spool: Callable[[Path], dict[str, Any]]) -> None:
    for path in DATA.glob(f"{STREAM}-*"):
        shutil.copy(path, tmp_path)
    numbers = [number + (number > 3) for number in range(1, len(FIRST) + 1)]
    later = [len(FIRST) + 1 + number + (number > 3) for number in range(1, len(SECOND) + 2)]
    expected = list(zip(numbers + later, [*FIRST, *SECOND, Control(0)], strict=True))
    assert read_spool(tmp_path) == {STREAM: expected}


def test_the_rounds_are_read_exactly() -> None:
    reader = SpoolReader(STREAM)
    found = []
    for part in reader.read(list_streams(DATA)[STREAM], ended=True):
        assert isinstance(part, frames.FrameRange)
        kinds = [type(decode(payload)).__name__ for _, payload in frames.split(part.body)]
        found.append((part.round, part.count, frames.events_in(part.body, part.count), kinds[0]))
    assert found == [(2, 4, 4, "Metric"), (3, 5, 4, "RoundMark"), (None, 3, 2, "RoundMark"), (None, 5, 3, "Histogram")]


def test_the_rounds_of_sites_that_share_a_spool_are_read_exactly(tmp_path: Path) -> None:
    shutil.copy(DATA / f"{SHARED}-{1:016x}.spool", tmp_path)
    journal = Journal(tmp_path / "journal.db")
    source = SharedSource("@worker-1", tmp_path, journal, BlobStore(tmp_path / "blobs"), ["site-1", "site-2"])
    taken: list[tuple[str, str, frames.FrameRange]] = []
    journal.apply_all = lambda batches, *_: taken.extend(batches) or {}  # type: ignore[method-assign, assignment]
    ForwardPass().run([source])
    journal.close()
    found = [(site, run.round, frames.events_in(run.body, run.count)) for site, _, run in taken]
    assert found == [("site-1", 0, 2), ("site-2", None, 1), ("site-2", 1, 1)]


def test_the_counts_are_read_exactly() -> None:
    assert read_page(page_path(DATA, STREAM)) == Counts(17, 4, 1)
    assert read_page(page_path(DATA, SHARED)) == Counts(0, 0, 0)


def test_the_identity_is_read_exactly() -> None:
    assert read_identity(DATA) == SpoolIdentity("golden", "site-1", 2)


def write() -> None:
    """Write the files of the format."""
    for name, data in files().items():
        (DATA / name).write_bytes(data)
    write_identity(DATA, SpoolIdentity("golden", "site-1"))


if __name__ == "__main__":
    write()
