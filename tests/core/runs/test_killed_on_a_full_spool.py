"""A process that is killed while its spool is full: what it could not store is known to the last call."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.runs.tally import CountedSite, Goodbye, SiteTally, take_tally
from fedtrack.spool.spool import MIN_LIMIT_BYTES
from fedtrack.tracking.blobs import BlobStore
from fedtrack.transport.spool_source import SpoolSource
from support.forwarding import forward

CALLS, WITHHELD = 10_000, 70

SCRIPT = f"""
import os, signal, sys
from pathlib import Path
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer

spool = Spool(Path(sys.argv[1]), limit_bytes={MIN_LIMIT_BYTES})
writer = Writer(spool)
spool.count_withheld({WITHHELD})
for step in range({CALLS}):
    writer.record_metric("loss", "no number" if step == 3 else 1.0, step)
    if step == 4 and sys.argv[2:]:
        for page in Path(sys.argv[1]).glob("*.counts"):
            page.unlink()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Journal, Ledger]]:
    journal = Journal(tmp_path / "journal.db")
    ledger = Ledger(tmp_path / LEDGER_FILE, journal)
    yield journal, ledger
    ledger.close()
    journal.close()


def log_until_killed(spool: Path, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(spool), *arguments], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


def tally(stores: tuple[Journal, Ledger], spool: Path) -> SiteTally:
    site = CountedSite("site-1", spool, Goodbye())
    return take_tally({"server": stores}, [site]).sites["site-1"]


def bring_in(stores: tuple[Journal, Ledger], spool: Path) -> None:
    source = SpoolSource("site-1", spool, stores[0], BlobStore(spool.parent / "blobs"))
    source.ended = True
    while forward(source):
        pass


def test_every_call_is_counted_before_and_after_it_is_in_the_journal(
    stores: tuple[Journal, Ledger], tmp_path: Path
) -> None:
    log_until_killed(tmp_path / "spool")
    for wait in (True, False):
        found = tally(stores, tmp_path / "spool")
        assert found.calls == CALLS + WITHHELD
        assert found.logged is not None
        assert found.dropped is not None
        assert found.dropped > CALLS // 2
        assert (found.withheld, found.rejected, found.lost) == (WITHHELD, 1, 0)
        assert (found.in_spool, found.journaled) == ((found.logged, 0) if wait else (0, found.logged))
        assert found.logged + found.dropped + WITHHELD == found.calls
        assert not found.complete
        if wait:
            bring_in(stores, tmp_path / "spool")
    assert not list((tmp_path / "spool").iterdir())  # the journal has all of it, the counts too


def test_without_a_page_nobody_knows_and_nobody_says_zero(stores: tuple[Journal, Ledger], tmp_path: Path) -> None:
    log_until_killed(tmp_path / "spool", "without its page")
    for wait in (True, False):
        found = tally(stores, tmp_path / "spool")
        assert (found.calls, found.dropped, found.withheld, found.rejected) == (None, None, None, None)
        assert found.logged is not None
        assert (found.in_spool or 0) + found.journaled == found.logged > 0
        assert not found.complete
        if wait:
            bring_in(stores, tmp_path / "spool")


NO_ROOM = """
import os, resource, signal, sys
from pathlib import Path
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
writer = Writer(Spool(Path(sys.argv[1])))
for step in range(100):
    writer.record_metric("loss", 1.0, step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_without_room_for_its_first_file_is_not_known_to_have_logged_nothing(
    stores: tuple[Journal, Ledger], tmp_path: Path
) -> None:
    done = subprocess.run([sys.executable, "-c", NO_ROOM, str(tmp_path / "spool")], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file() and path.stat().st_size]
    bring_in(stores, tmp_path / "spool")
    found = tally(stores, tmp_path / "spool")
    assert (found.dropped, found.calls, found.complete) == (None, None, False)


def test_a_site_that_never_had_a_spool_logged_nothing(stores: tuple[Journal, Ledger], tmp_path: Path) -> None:
    found = tally(stores, tmp_path / "spool")
    assert (found.logged, found.dropped, found.complete) == (0, 0, True)
