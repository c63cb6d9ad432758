"""Clocks that are wrong, jump, run backwards or stand still, on sites and on the server.

Order and deduplication never look at a clock; receivers show the site's time, and the journal keeps the server's beside
it. Each site is a process whose clock changes while it logs: ``time.time_ns`` is replaced before fedtrack is imported.
If libfaketime is installed, the clock is also changed below Python, as by the operating system.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import time_ns

import pytest

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal import journal
from fedtrack.journal.journal import GapKind, Journal
from fedtrack.spool import frames
from fedtrack.testing import ReceiverContract, Stored, run_info
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Metric, decode
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource
from fedtrack_mlflow import MLflowReceiver
from fedtrack_tensorboard import TBAnalyticsReceiver
from support.forwarding import forward

from ..plugins.mlflow import test_mlflow_contract as mlflow_store  # noqa: TID252 - tests are no package to name
from ..plugins.tensorboard import test_tb_contract as tensorboard_store  # noqa: TID252

CALLS, YEARS = 60, 10 * 365 * 86_400
NS = 1_000_000_000

#: Each site's clock: seconds that it is ahead, for equal shares of the calls in turn; "@..." is a clock that stands
#: still at that many seconds after the epoch.
CLOCKS: dict[str, list[str]] = {
    "ten-years-ahead": [f"+{YEARS}"],
    "ten-years-behind": [f"-{YEARS}"],
    "swings": [f"+{YEARS}", f"-{YEARS}", f"+{YEARS}", f"-{YEARS}"],
    "runs-back": ["+0", "-3600", "-7200", "-10800", "-14400"],
    "ntp-steps": ["+0", "+1", "+0", "-1", "+0"],
    "stands-still": ["@1700000000"],
    "never-set": ["@0", "+0"],
}

SITE = """
import json, os, sys, time
from pathlib import Path

folder, calls, clocks = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split()
library = os.environ.get("FAKETIME_TIMESTAMP_FILE")
real = time.time_ns
clock = "+0"

def set_clock(setting):
    global clock
    clock = setting
    if library:
        still = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(setting[1:])))
        Path(library).write_text(still if setting[0] == "@" else setting)

if not library:
    time.time_ns = lambda: int(clock[1:]) * 10**9 if clock[0] == "@" else real() + int(clock) * 10**9

set_clock(clocks[0])
from fedtrack.spool.spool import Spool
from fedtrack.tracking.writer import Writer

spool = Spool(folder, segment_bytes=500)
writer = Writer(spool)
seen = []
for call in range(calls):
    set_clock(clocks[call * len(clocks) // calls])
    before = time.time_ns()
    writer.record_metric("loss", call / 8, call)
    seen.append((before, time.time_ns()))
spool.close()
print(json.dumps(seen))
"""


def libraries() -> Iterator[object]:
    """Yield how a process gets its clock: from this file's own ``time_ns``, and from libfaketime."""
    yield pytest.param("", id="patched")
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    missing = pytest.mark.skipif(not found, reason="libfaketime is not installed")
    yield pytest.param(str(found[0]) if found else "", id="libfaketime", marks=missing)


def start_site(folder: Path, clocks: list[str], library: str) -> subprocess.Popen[str]:
    environment = dict(os.environ)
    if library:
        setting = folder.with_suffix(".clock")
        setting.write_text("+0")
        # A step of the wall clock leaves the monotonic one alone, as the kernel does.
        environment |= {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(setting), "TZ": "UTC"}
        environment |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    else:
        environment["FEDTRACK_SPEEDUPS"] = "0"  # what is compiled asks the operating system
    command = [sys.executable, "-c", SITE, str(folder), str(CALLS), " ".join(clocks)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@dataclass
class Campaign:
    """A run of all sites through one server.

    Attributes:
        clocks: By site, what its clock showed before and after each log call, in nanoseconds.
        began: The server's clock before the first record arrived.
        ended: And after the last one.
    """

    root: Path
    journal: Journal
    run: RunInfo
    clocks: dict[str, list[tuple[int, int]]]
    began: int
    ended: int

    def records(self, site: str) -> list[Metric]:
        found = []
        for batch in self.journal.read(0):
            if batch.site == site:
                found += [decode(payload) for _, payload in frames.split(batch.body)]
        assert all(isinstance(record, Metric) for record in found)
        return found  # type: ignore[return-value]

    def deliver(self) -> None:
        """Deliver to real backends whatever their cursors have not passed."""
        ledger = Ledger(self.journal.path.with_name(LEDGER_FILE), self.journal)
        deliveries = [
            Delivery(name, receiver, self.journal, ledger, self.run)
            for name, receiver in (("mlflow", MLflowReceiver()), ("tensorboard", TBAnalyticsReceiver()))
        ]
        for delivery in deliveries:
            delivery.start()
            delivery.drain("completed")
        for delivery in deliveries:
            report = delivery.finish(60.0)
            assert (report.delivered, report.pending, report.dead) == (CALLS * len(CLOCKS), 0, 0), report
        ledger.close()


@pytest.fixture(scope="module", params=list(libraries()))
def campaign(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    root = tmp_path_factory.mktemp("clocks")
    opened = Journal(root / "journal.db")
    run = run_info(root / "run", sites=CLOCKS)
    began = time_ns()
    forwarder = Forwarder(poll_seconds=0.005)
    for site in CLOCKS:
        forwarder.add(SpoolSource(site, root / site, opened, run.blobs))
    forwarder.start()
    sites = {site: start_site(root / site, clocks, request.param) for site, clocks in CLOCKS.items()}
    output = {site: process.communicate(timeout=120)[0] for site, process in sites.items()}
    assert {process.returncode for process in sites.values()} == {0}
    for site in CLOCKS:
        forwarder.end(site)
    forwarder.stop()
    clocks = {site: [(before, after) for before, after in json.loads(text)] for site, text in output.items()}
    made = Campaign(root, opened, run, clocks, began, time_ns())
    made.deliver()
    yield made
    opened.close()


@pytest.mark.parametrize("site", CLOCKS)
def test_order_is_that_of_the_log_calls_and_the_time_is_the_sites(campaign: Campaign, site: str) -> None:
    records = campaign.records(site)
    assert [record.step for record in records] == list(range(CALLS))
    assert [record.value for record in records] == [call / 8 for call in range(CALLS)]
    for record, (before, after) in zip(records, campaign.clocks[site], strict=True):
        assert before <= record.time_ns <= after


def test_clocks_were_as_wrong_as_they_were_meant_to_be(campaign: Campaign) -> None:
    times = {site: [record.time_ns for record in campaign.records(site)] for site in CLOCKS}
    now = campaign.began
    assert min(times["ten-years-ahead"]) - now > 0.99 * YEARS * NS
    assert now - max(times["ten-years-behind"]) > 0.99 * YEARS * NS
    assert set(times["stands-still"]) == {1_700_000_000 * NS}
    assert times["never-set"][0] == 0 < now < times["never-set"][-1]
    for site, jumps in (("swings", 2), ("runs-back", 4), ("ntp-steps", 2)):
        assert sum(later < earlier for earlier, later in zip(times[site], times[site][1:], strict=False)) == jumps


def test_servers_time_of_receipt_is_kept_beside_the_sites(campaign: Campaign) -> None:
    with closing(sqlite3.connect(campaign.journal.path)) as connection:
        received = connection.execute("SELECT recv_ns FROM batch ORDER BY id").fetchall()
    assert received == sorted(received)
    assert all(campaign.began <= recv_ns <= campaign.ended for (recv_ns,) in received)


def test_what_is_sent_again_is_known_whatever_its_time_says(campaign: Campaign) -> None:
    before = campaign.journal.last_batch()
    for batch in campaign.journal.read(0):
        numbers = [seq for seq, _ in frames.split(batch.body)]
        run = frames.FrameRange(numbers[0], numbers[-1], batch.count, batch.body)
        assert campaign.journal.apply(batch.site, batch.stream, [run]) == CALLS
    assert campaign.journal.last_batch() == before
    assert campaign.journal.counts() == dict.fromkeys(sorted(CLOCKS), CALLS)
    assert campaign.journal.gaps() == []


CONTRACTS: dict[str, Callable[[], ReceiverContract]] = {
    "mlflow": mlflow_store.TestMLflowReceiver,
    "tensorboard": tensorboard_store.TestTBAnalyticsReceiver,
}


@pytest.mark.parametrize("backend", CONTRACTS)
def test_backends_show_the_sites_time_and_take_no_record_twice(campaign: Campaign, backend: str) -> None:
    for again in (False, True):
        if again:
            ledger = Ledger(campaign.journal.path.with_name(LEDGER_FILE), campaign.journal)
            ledger.rewind(backend)
            ledger.close()
            campaign.deliver()
        contract = CONTRACTS[backend]()
        found: dict[str, list[Stored]] = {}
        for stored in contract.read(campaign.run.folder):
            found.setdefault(stored.site, []).append(stored)
        for site in CLOCKS:
            shown = sorted(found[site], key=lambda stored: stored.step or 0)
            assert [stored.step for stored in shown] == list(range(CALLS))
            for stored, record in zip(shown, campaign.records(site), strict=True):
                assert stored.time_ns is not None
                assert abs(stored.time_ns - record.time_ns) < contract.time_resolution_ns


def test_a_server_whose_clock_swings_stores_everything_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter(range(1_000))
    monkeypatch.setattr(journal, "time_ns", lambda: time_ns() + (-1) ** next(readings) * YEARS * NS)
    site = start_site(tmp_path / "site-1", ["+0"], "")
    opened = Journal(tmp_path / "journal.db")
    run = run_info(tmp_path / "run")
    source = SpoolSource("site-1", tmp_path / "site-1", opened, run.blobs)
    while site.poll() is None:
        forward(source)
    _, _ = site.communicate()
    source.ended = True
    while forward(source):
        pass
    steps = [decode(payload).step for batch in opened.read(0) for _, payload in frames.split(batch.body)]  # type: ignore[union-attr]
    assert steps == list(range(CALLS))
    opened.record_gap("site-1", "ab" * 16, GapKind.MISSING, "a gap")
    opened.record_gap("site-1", "ab" * 16, GapKind.MISSING, "a gap")  # at quite another time
    assert len(opened.gaps()) == 1
    assert next(readings) > 3, "the server's clock was hardly read"
    opened.close()
