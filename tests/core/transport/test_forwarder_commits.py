"""The commits that sites share."""

from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.transport import forward_pass
from fedtrack.transport.forwarder import Forwarder
from support.forwarding import Site, raiser, stored


def sites_of(tmp_path: Path, journal: Journal, names: str = "abcdefgh") -> list[Site]:
    sites = [Site(tmp_path, journal, name) for name in names]
    for site in sites:
        site.log(*range(100))
    return sites


def forwarder_of(sites: list[Site]) -> Forwarder:
    forwarder = Forwarder(poll_seconds=0.001)
    for site in sites:
        forwarder.add(site.source)
    return forwarder


def test_the_sites_of_a_pass_share_one_commit(tmp_path: Path, journal: Journal) -> None:
    sites = sites_of(tmp_path, journal)
    forwarder_of(sites).stop()
    assert journal.commits == 1
    assert journal.counts() == dict.fromkeys("abcdefgh", 100)
    assert all(len(site.segments()) == 1 for site in sites)


def test_a_pass_holds_only_so_much_in_memory(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_pass, "GROUP_BYTES", 1_000)  # 100 records are more
    forwarder_of(sites_of(tmp_path, journal)).stop()
    assert journal.commits == 8
    assert journal.counts() == dict.fromkeys("abcdefgh", 100)


def test_one_site_that_no_commit_takes_fails_alone(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = sites_of(tmp_path, journal)
    real = journal.apply_all

    def refuse_c(batches: Any, *rest: Any) -> Any:
        if any(site == "c" for site, _, _ in batches):
            raise WorkspaceError("not this one")
        return real(batches, *rest)

    forwarder = forwarder_of(sites)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "apply_all", refuse_c)
        forwarder.stop(patience_seconds=0.0)
    assert forwarder.errors == {"c": "not this one"}
    assert journal.counts() == dict.fromkeys("abdefgh", 100)
    assert len(sites[2].segments()) > 3
    forwarder.stop()
    assert stored(journal, "c") == list(range(100))
    assert len(sites[2].segments()) == 1


def test_an_interrupted_pass_loses_nothing_of_any_site(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = sites_of(tmp_path, journal)
    forwarder = forwarder_of(sites)
    with monkeypatch.context() as patch:
        patch.setattr(sites[4].source, "read", raiser(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            forwarder.stop()
    assert journal.counts() == {}
    forwarder.stop()
    assert all(stored(journal, name) == list(range(100)) for name in "abcdefgh")


def test_sources_of_different_journals_share_a_pass(tmp_path: Path, journal: Journal) -> None:
    other = Journal(tmp_path / "other.db")
    forwarder_of([*sites_of(tmp_path, journal, "ab"), *sites_of(tmp_path, other, "c")]).stop()
    assert (journal.counts(), other.counts()) == ({"a": 100, "b": 100}, {"c": 100})
    other.close()


def test_a_stream_of_other_sites_events_has_a_mark_of_its_own(journal: Journal) -> None:
    """What a process logs for the sites that it hosts is stored under their names, and read once all the same."""
    stream = "ab" * 16
    run = frames.FrameRange(3, 3, 1, frames.frame(3, b"x", frames.salt_of(stream)))
    journal.apply_all([("site-1", stream, run)], [("host", stream, 7)])
    assert (journal.high_water("host", stream), journal.high_water("site-1", stream)) == (7, 3)
    journal.apply_all([], [("host", stream, 5)])
    assert journal.high_water("host", stream) == 7
