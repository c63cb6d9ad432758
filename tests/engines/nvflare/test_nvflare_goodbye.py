"""The goodbye of a site of FLARE: also of one whose process was killed on a full spool."""

from pathlib import Path

from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.runs.tally import CountedSite, Goodbye, SiteTally, take_tally
from fedtrack.spool.spool import MIN_LIMIT_BYTES, Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack.transport.intake import Intake
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.wire import decode_ack, encode
from fedtrack_nvflare.backend import Left
from fedtrack_nvflare.goodbye import goodbye

CALLS = 10_000


def shipped(tmp_path: Path, *, left: bool, page: bool = True) -> SiteTally:
    tmp_path.mkdir(exist_ok=True)
    spool = Spool(tmp_path / "spool", limit_bytes=MIN_LIMIT_BYTES)
    for step in range(CALLS):
        spool.append(Metric(1, "loss", 1.0, step))
    said = Left(spool.stored, spool.dropped) if left else None
    spool.close()
    for path in (tmp_path / "spool").glob("*.counts") if not page else ():
        path.unlink()
    journal = Journal(tmp_path / "journal.db")
    ledger = Ledger(tmp_path / LEDGER_FILE, journal)
    intake = Intake("r1", journal, BlobStore(tmp_path / "blobs"))
    shipper = SpoolShipper(
        spool.folder, "r1", lambda message: decode_ack.decode(intake.handle("site-1", encode(message)))
    )
    shipper.start()
    assert shipper.finish(lambda final: goodbye("r1", final, spool.folder, said), 30.0)
    bye = intake.byes()["site-1"]
    words = Goodbye(bye.logged, bye.dropped, None) if bye.logged is not None else Goodbye()
    found = take_tally({"server": (journal, ledger)}, [CountedSite("site-1", None, words)]).sites["site-1"]
    ledger.close()
    journal.close()
    return found


def test_the_pages_of_a_killed_process_say_what_it_dropped(tmp_path: Path) -> None:
    for left in (True, False):
        found = shipped(tmp_path / str(left), left=left)
        assert found.calls == CALLS
        assert found.logged == found.journaled == CALLS - (found.dropped or 0)
        assert found.dropped


def test_of_a_killed_process_without_a_page_nobody_knows(tmp_path: Path) -> None:
    found = shipped(tmp_path, left=False, page=False)
    assert (found.calls, found.dropped, found.withheld) == (None, None, None)
    assert found.journaled > 0
    assert not found.complete
