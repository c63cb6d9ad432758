"""The cost of an idle poll of the forwarder."""

import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.spool.segments import Listing
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Metric
from support.forwarding import Site, forward, stored


def test_an_idle_poll_opens_no_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.log(*range(100))
    forward(site.source)
    old = time.time() - 10
    os.utime(site.folder, (old, old))  # it was not changed lately
    assert not forward(site.source)
    opened: list[object] = []
    real = site.source.journal.apply_all
    monkeypatch.setattr(site.source.journal, "apply_all", lambda *a: opened.append("commit") or real(*a))
    for name in ("open", "listdir", "scandir"):
        monkeypatch.setattr(os, name, _counted(getattr(os, name), opened))
    monkeypatch.setattr("io.open", _counted(io.open, opened))
    for _ in range(5):
        assert not forward(site.source)
    assert opened == []
    site.log(100)
    assert forward(site.source)
    assert opened  # the check can fail


def _counted(call: Callable[..., Any], calls: list[object]) -> Callable[..., Any]:
    def counting(*args: Any, **kwargs: Any) -> Any:
        calls.append(args[0])
        return call(*args, **kwargs)

    return counting


@pytest.mark.parametrize("age", [0, 10])
def test_a_new_segment_is_seen_at_once(site: Site, journal: Journal, age: int) -> None:
    """Also one that was created within the same tick of the file system's clock as the listing before."""
    site.log(1)
    forward(site.source)
    now = time.time() - age
    os.utime(site.folder, (now, now))
    forward(site.source)
    site.log(*range(2, 40))
    if not age:
        os.utime(site.folder, (now, now))  # as if all of it had happened within one tick
    forward(site.source)
    assert stored(journal) == list(range(1, 40))


def test_a_folder_that_appears_or_is_replaced_is_listed(tmp_path: Path) -> None:
    listing = Listing(tmp_path / "later")
    assert listing.files().segments == {}
    spool = Spool(tmp_path / "later")
    assert listing.files().segments == {}
    spool.append(Metric(1, "loss", 1.0))
    assert list(listing.files().segments) == [spool.stream]
    spool.close()
