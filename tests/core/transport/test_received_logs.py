"""A site's release log arrives at the server whole, signed for, and only at its own name."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.policy.policy import Policy
from fedtrack.policy.terms import Terms
from fedtrack.runs.release_logs import checked
from fedtrack.seals.release_log import RECEIPT
from fedtrack.seals.site_key import is_signed
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack.transport.guard import Guard
from fedtrack.transport.intake import Intake
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.wire import Ack, Bye, FromSite, LogPart, decode_ack, encode

RUN = "run"


def shipped(tmp_path: Path, answer: Ack | None = None) -> tuple[SpoolShipper, Path]:
    """Ship a spool with a refused record; ``answer`` is what an older server says to the log."""
    journal = Journal(tmp_path / "server" / "journal.db")
    intake = Intake(RUN, journal, BlobStore(tmp_path / "server" / "blobs"))

    def call(message: FromSite) -> Ack:
        if answer is not None and isinstance(message, LogPart):
            return answer
        return decode_ack.decode(intake.handle("site-1", encode(message)))

    guard = Guard.open("site-1", RUN, tmp_path / "site", Terms((Policy(default="allow", text="deny"),)))
    assert guard is not None
    spool = Spool(tmp_path / "site" / "spool")
    spool.extend([Metric(1, "loss", float(number)) for number in range(100)])
    spool.close()
    shipper = SpoolShipper(spool.folder, RUN, call, guard=guard, batch_bytes=200)
    assert shipper.finish(lambda final: Bye(RUN, final, 100, 0), 20.0)
    assert journal.counts() == {"site-1": 100}
    journal.close()
    return shipper, tmp_path / "server" / "release_logs" / "site-1.jsonl"


def test_a_log_arrives_in_pieces_and_the_site_keeps_a_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDTRACK_KEYS", str(tmp_path / "keys"))
    shipper, arrived = shipped(tmp_path)
    assert shipper.guard is not None
    assert arrived.read_bytes() == shipper.guard.log.path.read_bytes()
    lines, said = checked(arrived)
    assert lines[-1].ended
    assert "signed by" in said
    key, signature = (tmp_path / "site" / RECEIPT).read_text().strip().split(":")
    assert is_signed(key, signature, sha256(arrived.read_bytes()).digest())


@pytest.mark.parametrize("answer", [Ack("unknown", reason="upgrade"), Ack("rejected", reason="no"), Ack("gap", 0)])
def test_a_server_that_takes_no_log_delays_nothing(tmp_path: Path, answer: Ack) -> None:
    shipper, arrived = shipped(tmp_path, answer)
    assert shipper.complete
    assert not arrived.exists()


@pytest.mark.parametrize(
    ("site", "part"),
    [
        ("../x", LogPart(RUN, 0, b"x")),
        ("a/b", LogPart(RUN, 0, b"x")),
        ("..", LogPart(RUN, 0, b"x")),
        ("a", LogPart(RUN, 0, b"x" * 2_000_000)),
        ("a", LogPart(RUN, 2**62, b"x")),
        ("a", LogPart("other", 0, b"x")),
    ],
)
def test_an_invalid_piece_is_refused(tmp_path: Path, site: str, part: LogPart) -> None:
    journal = Journal(tmp_path / "journal.db")
    intake = Intake(RUN, journal, BlobStore(tmp_path / "blobs"))
    assert decode_ack.decode(intake.handle(site, encode(part))).verdict == "rejected"
    assert decode_ack.decode(intake.handle("a", encode(LogPart(RUN, 5, b"x")))) == Ack("gap", 0)
    assert not list(tmp_path.rglob("*.jsonl"))
    journal.close()
