"""Rounds in a spool that sites share: each site's records have its own round, or none."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.shared import SharedSpool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, RoundMark, decode
from fedtrack.transport.forward_pass import ForwardPass
from fedtrack.transport.shared_source import SharedSource
from support.spooled import metric

SITES = ["a", "b", "c"]


@pytest.fixture
def taken(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None, Any]]:
    """Return (site, round, record) of what has reached the journal."""
    found: list[tuple[str, int | None, Any]] = []
    real: Callable[..., Any] = journal.apply_all

    def take(batches: list[tuple[str, str, frames.FrameRange]], *rest: Any) -> Any:
        marks = real(batches, *rest)
        for site, _, run in batches:
            found.extend((site, run.round, decode(payload)) for _, payload in frames.split(run.body))
        return marks

    monkeypatch.setattr(journal, "apply_all", take)
    return found


def forward(folder: Path, journal: Journal, **options: Any) -> None:
    source = SharedSource("@worker-1", folder, journal, BlobStore(folder / "blobs"), SITES, **options)
    while True:
        one = ForwardPass()
        one.run([source])
        assert not one.failures
        if not one.found:
            return


@pytest.mark.parametrize("seed", range(6))
def test_each_site_s_records_have_their_round_whatever_the_sizes_and_restarts(
    tmp_path: Path, journal: Journal, taken: list[tuple[str, int | None, Any]], seed: int
) -> None:
    source = random.Random(seed)
    spool = SharedSpool(tmp_path / "spool", segment_bytes=source.choice((200, 600, 5_000, 4_194_304)))
    expected: list[tuple[str, int | None, float]] = []
    for number in range(400):
        site, round_ = source.choice(SITES), source.choice((None, 0, 1, 2))
        spool.enter(site, round_)
        for _ in range(source.randrange(3)):
            if not spool.append_metric("loss", float(number), 7):
                spool.append(metric(number))
            expected.append((site, round_, float(number)))
        if source.random() < 0.1:  # a server that begins anew, in the middle of a segment
            forward(spool.folder, journal, delete=False, read_bytes=source.choice((100, 1_000, 2**20)))
    forward(spool.folder, journal)
    metrics = [(site, round_, record.value) for site, round_, record in taken if isinstance(record, Metric)]
    assert sorted(metrics, key=lambda one: (one[0], one[2])) == sorted(expected, key=lambda one: (one[0], one[2]))
    assert journal.total() == len(expected) == spool.stored


def test_a_site_that_logs_nothing_costs_no_mark_and_one_that_comes_back_none_twice(
    tmp_path: Path, journal: Journal, taken: list[tuple[str, int | None, Any]]
) -> None:
    spool = SharedSpool(tmp_path / "spool")
    for site in ("a", "b", "c", "a", "c"):
        spool.enter(site, 1)
        if site != "b":
            spool.append(metric(1))
    forward(spool.folder, journal)
    assert [site for site, _, record in taken if isinstance(record, RoundMark)] == ["a", "c"]
    assert {round_ for _, round_, _ in taken} == {1}


def test_a_new_segment_says_the_round_of_the_site_that_is_entered_again(
    tmp_path: Path, journal: Journal, taken: list[tuple[str, int | None, Any]]
) -> None:
    spool = SharedSpool(tmp_path / "spool", segment_bytes=400)
    spool.enter("a", 3)
    for _ in range(50):
        if not spool.append_metric("loss", 1.0, 7):
            spool.append(metric(1))
    forward(spool.folder, journal)
    segments = list(spool.folder.glob("*.spool"))
    assert len(segments) == 1  # the others were deleted
    assert {round_ for _, round_, _ in taken} == {3}
    assert sum(isinstance(record, RoundMark) for _, _, record in taken) > 3


def test_a_nested_stream_knows_the_site_and_its_round(
    tmp_path: Path, journal: Journal, taken: list[tuple[str, int | None, Any]]
) -> None:
    spool = SharedSpool(tmp_path / "spool")
    for site, round_ in (("a", 1), ("b", 1), ("a", 2)):
        spool.enter(site, round_)
        spool._writing = True  # as in a signal handler inside another call
        spool.append(metric(round_))
        spool._writing = False
    forward(spool.folder, journal)
    found = [(site, round_) for site, round_, record in taken if isinstance(record, Metric)]
    assert sorted(found) == [("a", 1), ("a", 2), ("b", 1)]
    assert not journal.gaps()


def test_behind_damage_no_site_has_the_round_of_before(
    tmp_path: Path, taken: list[tuple[str, int | None, Any]]
) -> None:
    spool = SharedSpool(tmp_path / "spool")
    for number in range(12):
        spool.enter(SITES[number % 3], number // 3)
        spool.append(metric(number // 3))
    spool.close()
    (path,) = spool.folder.glob("*.spool")
    whole = path.read_bytes()
    for bit in range(frames.HEADER_SIZE * 8, len(whole) * 8, 41):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        opened = Journal(tmp_path / f"{bit}.db")
        found: list[tuple[int | None, float]] = []
        source = SharedSource("@w", spool.folder, opened, BlobStore(tmp_path / "blobs"), SITES, delete=False)
        source.ended = True
        for stream in source.begin():
            source.read(stream)
            for _, _, run in stream.portion.batches:
                records = [decode(payload) for _, payload in frames.split(run.body)]
                found += [(run.round, r.value) for r in records if isinstance(r, Metric)]
        opened.close()
        assert len(found) >= 10
        assert all(round_ is None or round_ == value for round_, value in found), bit
