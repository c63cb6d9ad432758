"""Fair turns: how many passes an honest record waits does not depend on what another site has written."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.segments import segment_name
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Metric, Text, encode
from fedtrack.transport import spool_source
from fedtrack.transport.forward_pass import GROUP_BYTES, ForwardPass
from support.forwarding import Site, stored

pytestmark = pytest.mark.threat("T2")


def flood(site: Site, streams: int, records: int) -> None:
    for number in range(streams):
        spool = Spool(site.folder)
        for step in range(records):
            spool.append(Text(1, f"t{number}", "x" * 1_000, step))
        spool.close()


def passes(sources: list[Site]) -> tuple[int, bool]:
    """Make one pass, and return how many events of the first site came, and whether there may be more."""
    one = ForwardPass()
    before = sources[0].source.journal.counts().get(sources[0].name, 0)
    one.run([site.source for site in sources])
    assert not one.failures
    after = sources[0].source.journal.counts().get(sources[0].name, 0)
    return after - before, one.found


def test_a_flooder_has_its_share_of_a_pass_and_the_others_are_read_in_each(tmp_path: Path, journal: Journal) -> None:
    flooder = Site(tmp_path, journal, "flooder")
    honest = [Site(tmp_path, journal, f"honest-{number}") for number in range(9)]
    flood(flooder, streams=30, records=200)  # 6 MB in 30 streams
    share = GROUP_BYTES // 10
    for turn in range(4):
        for site in honest:
            site.log(turn)
        came, found = passes([flooder, *honest])
        assert found
        # A stream is read to the end of a piece: the share is exceeded by one piece at most.
        assert 0 < came * 1_000 <= share + 1024 * 1024
        for site in honest:
            assert stored(journal, site.name) == [float(step) for step in range(turn + 1)]
    for _ in range(20):
        if not passes([flooder, *honest])[1]:
            break
    assert journal.counts()["flooder"] == 30 * 200


def test_streams_that_were_left_come_first_in_the_next_pass(tmp_path: Path, journal: Journal) -> None:
    site = Site(tmp_path, journal)
    flood(site, streams=6, records=400)
    seen: set[str] = set()
    begin = site.source.begin
    site.source.begin = lambda share=None: begin(256 * 1024)  # type: ignore[method-assign]
    for _ in range(12):
        one = ForwardPass()
        before = dict(journal.high_waters("a"))
        one.run([site.source])
        seen |= {name for name, mark in journal.high_waters("a").items() if before.get(name) != mark}
        if not one.found:
            break
    assert len(seen) == 6
    assert journal.counts()["a"] == 6 * 400


def test_losses_of_a_site_are_listed_up_to_a_limit(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, journal)
    monkeypatch.setattr(spool_source, "MAX_LOSSES", 3)
    stream = "ab" * 16
    salt = frames.salt_of(stream)
    body = frames.header(bytes.fromhex(stream), 1, 0)
    for seq in range(1, 20):
        body += frames.frame(seq, encode(Metric(seq, "loss", float(seq))), salt) + b"garbage"
    (site.folder / segment_name(stream, 1)).write_bytes(body)
    site.source.ended = True
    passes([site])
    gaps = [gap for gap in journal.gaps() if gap.site == "a"]
    assert len(gaps) == 4
    assert "more than 3 losses" in gaps[-1].reason
    assert journal.counts()["a"] == 19
