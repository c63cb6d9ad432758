"""A collector answers every HTTP request in order, whatever it holds; nothing is taken from a body but its records.

FEDTRACK_SOAK=1 tries a million messages and 20,000 requests.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedtrack.collector import app as module
from fedtrack.collector.app import CollectorApp
from fedtrack.collector.collected_runs import CollectedRuns
from fedtrack.collector.room import Room
from fedtrack.collector.tokens import Tokens

from . import fuzz_targets
from .soak import SOAK
from .test_fuzz import changed

REQUESTS, MESSAGES = (20_000, 1_000_000) if SOAK else (120, 3_000)
#: More than the answers of a collector that works; 500 is none of them.
ANSWERS = {200, 400, 401, 403, 404, 405, 408, 413, 421, 503, 507}

SITES = "SELECT site FROM stream UNION SELECT site FROM gap UNION SELECT site FROM goodbye UNION SELECT site FROM batch"


class Collector:
    """A collector's application in this process, with its runs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = asyncio.Runner()
        self.tokens = Tokens(folder)
        self.runs = CollectedRuns(folder, {}, idle_seconds=3600, room=Room(folder))
        self.app = CollectorApp(self.tokens, self.runs, frozenset(("localhost",))).asgi()
        self.own = self.tokens.add("hospital-a", runs="study-*")
        self.pattern = self.tokens.add("clinic-*", runs="study-*")

    def ask(self, method: str, path: str, headers: list[tuple[bytes, bytes]], parts: list[bytes | None]) -> int:
        """Send a request, of which a part that is None ends the connection; return the code of the answer."""
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"site=hospital-b",
            "headers": headers,
            "client": ("192.0.2.7", 5),
            "server": ("localhost", 80),
            "scheme": "http",
        }
        coming = iter(parts)
        codes: list[int] = []

        async def receive() -> dict[str, Any]:
            part = next(coming, b"")
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": coming.__length_hint__() > 0}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                codes.append(message["status"])

        self.loop.run(self.app(scope, receive, send))
        assert len(codes) == 1
        return codes[0]

    def sites(self) -> set[str]:
        """Return every site in a journal, by SQLite."""
        found: set[str] = set()
        for path in self.folder.glob("runs/*/server/simulate_job/journal.db"):
            with closing(sqlite3.connect(path)) as connection:
                found |= {row[0] for row in connection.execute(SITES)}
        return found


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    found = Collector(tmp_path)
    yield found
    found.runs.close()
    found.loop.close()


texts = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40)
names = st.sampled_from(
    ["study-7"] * 6 + ["study-8", "other", "server", "..", "%2e%2e", "a/b", "", "x" * 300, "\xe9\0"]
)
messages = st.sampled_from(fuzz_targets.intake_seeds()) | st.binary(max_size=200)


@st.composite
def paths(draw: st.DrawFn) -> str:
    run, site = draw(names), draw(st.sampled_from(["hospital-a", "hospital-b", "clinic-1", "clinic-1"]) | names)
    return draw(
        st.sampled_from(
            [f"/v1/runs/{run}/messages", f"/v1/runs/{run}/sites/{site}/messages", "/metrics", "/healthz", f"/{run}"]
        )
    )


@st.composite
def headers(draw: st.DrawFn, own: str, pattern: str) -> list[tuple[bytes, bytes]]:
    wrong = st.sampled_from([own[:-1], pattern.upper(), "", "ft_", "ft__", "ftn_" + own[3:]]) | texts
    presented = draw(st.sampled_from([own, own, pattern, pattern]) | wrong)
    kind = draw(st.sampled_from(["Bearer", "Bearer", "Bearer", "bearer", "Basic", ""]))
    found = [("host", draw(st.sampled_from(["localhost", "localhost", "localhost:8443", "[::1", "evil", ""])))]
    found.append(("authorization", f"{kind} {presented}"))
    lengths = st.sampled_from(["0", "7", "-1", "9" * 30, "9" * 5000, "0" * 5000, "x", str(module.MAX_BODY + 1), "\xb2"])
    found += draw(st.lists(st.tuples(st.just("content-length"), lengths), max_size=2))
    found += draw(st.lists(st.tuples(st.sampled_from(["content-type", "content-encoding", "fedtrack-site"]), texts)))
    return [(name.encode(), value.encode("latin-1")) for name, value in found]


@pytest.mark.slow
@pytest.mark.timeout(0 if SOAK else 120)
def test_every_request_is_answered_in_order(collector: Collector) -> None:
    answered: set[int] = set()

    @settings(max_examples=REQUESTS, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not SOAK)
    @given(
        st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD", "TRACE", "x"]),
        paths(),
        headers(collector.own, collector.pattern),
        st.lists(messages | st.none(), max_size=3),
    )
    def ask(method: str, path: str, given: list[tuple[bytes, bytes]], parts: list[bytes | None]) -> None:
        answered.add(collector.ask(method, path, given, parts))

    ask()
    # The valid ones are taken, so the rest was not refused for one reason.
    good = [(b"host", b"localhost"), (b"authorization", f"Bearer {collector.own}".encode())]
    for message in fuzz_targets.intake_seeds():
        answered.add(collector.ask("POST", "/v1/runs/study-7/messages", good, [message]))
    for length in (str(module.MAX_BODY + 1), "9" * 5000):
        answered.add(
            collector.ask("POST", "/v1/runs/study-7/messages", [*good, (b"content-length", length.encode())], [])
        )
    clinic = [(b"host", b"localhost"), (b"authorization", f"Bearer {collector.pattern}".encode())]
    for message in fuzz_targets.intake_seeds():
        answered.add(collector.ask("POST", "/v1/runs/study-7/sites/clinic-1/messages", clinic, [message]))
    # The answers that are to be seen at least once do not depend on what was drawn.
    answered.add(collector.ask("POST", "/v1/runs/other/messages", good, [b"x"]))
    answered.add(collector.ask("POST", "/v1/runs/study-7/messages", good[:1], [b"x"]))
    answered.add(collector.ask("POST", "/v1/runs/study-7/messages", [(b"host", b"evil"), *good[1:]], [b"x"]))
    answered.add(collector.ask("POST", "/nowhere", good, [b"x"]))
    answered.add(collector.ask("PUT", "/v1/runs/study-7/messages", good, [b"x"]))
    assert answered <= ANSWERS
    assert {200, 401, 403, 404, 405, 413, 421} <= answered
    assert collector.sites() >= {"hospital-a", "clinic-1"}
    assert all(site == "hospital-a" or site.startswith("clinic-") for site in collector.sites())


def test_a_body_that_does_not_come_ends(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BODY_SECONDS", 0.05)
    good = [(b"host", b"localhost"), (b"authorization", f"Bearer {collector.own}".encode())]
    sent: list[int] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message.get("status", 0))

    scope = {"type": "http", "method": "POST", "path": "/v1/runs/study-7/messages", "headers": good}
    scope |= {"query_string": b"", "client": None, "server": ("localhost", 80), "scheme": "http", "http_version": "1.1"}
    asyncio.run(collector.app(scope, receive, send))
    assert sent[0] == 408


def test_a_fault_of_the_collector_loses_nothing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> bytes:
        raise RuntimeError("a fault")

    monkeypatch.setattr(collector.runs, "handle", fail)
    good = [(b"host", b"localhost"), (b"authorization", f"Bearer {collector.own}".encode())]
    assert collector.ask("POST", "/v1/runs/study-7/messages", good, [b"x"]) == 503  # the site sends it again
    assert collector.ask("POST", "/v1/runs/study-7/messages", good, [b"x", None]) == 400


@pytest.mark.timeout(0 if SOAK else 120)
def test_changed_messages_take_no_memory(collector: Collector) -> None:
    source, seeds = random.Random(7), fuzz_targets.intake_seeds()
    for number in range(MESSAGES):
        fuzz_targets.check_intake(changed(source.choice(seeds), source))
        if number == MESSAGES // 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"{grown} KiB more than after a tenth of the messages"
