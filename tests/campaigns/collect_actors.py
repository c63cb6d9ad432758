"""The processes that the campaign of the collector kills: real ones, in forks that mark in shared memory what they do.

A mark is 1 while its process is inside a step. So it is known afterwards whether a kill has landed there.
"""

from __future__ import annotations

import mmap
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from time import sleep
from typing import Any

import fedtrack
from fedtrack.collector.server import CollectorServer
from fedtrack.collector.settings import Settings
from fedtrack.connection import agent, connected_run
from fedtrack.connection import connect as connecting
from fedtrack.connection.outbox import Outbox, Target
from fedtrack.journal.database import Database
from fedtrack.runs.kept_receivers import NamedReceiver
from fedtrack.spool.spool import Spool
from fedtrack.transport.https import HttpsLine

RUN = "study-7"
SITES = ("hospital-a", "hospital-b")
#: Small, so that a segment is soon full.
SEGMENT_BYTES = 1_500
#: The cells of the marks; a site has four of its own: attempted, returned, and two marks.
SHIP, COMMIT, DELIVER, CELLS = 0, 1, 2, 16
#: A trainer waits when the journal lacks so many of its events; else a slow machine would never catch up.
MOST_BEHIND = 1_500


@dataclass(frozen=True)
class Place:
    """Where the campaign happens.

    Attributes:
        root: Its folder.
        port: The collector's port.
        token: The token of both sites.
        cells: The shared memory, numbers of eight bytes: assigning one is one store.
    """

    root: Path
    port: int
    token: str
    cells: memoryview

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def collector(self) -> Path:
        return self.root / "collector"

    @property
    def server(self) -> Path:
        """The folder with the journal, and with the receiver's file."""
        return self.collector / "runs" / RUN / "server" / "simulate_job"


def shared(path: Path) -> memoryview:
    path.write_bytes(bytes(8 * CELLS))
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


def attempted(site: str) -> int:
    return 4 + 4 * SITES.index(site)


def returned(site: str) -> int:
    return attempted(site) + 1


def rotating(site: str) -> int:
    return attempted(site) + 2


def writing(site: str) -> int:
    return attempted(site) + 3


def arrived(site: str) -> int:
    """Return the cell in which the campaign says how many of a site's events are in the journal."""
    return 12 + SITES.index(site)


def marking(function: Callable[..., Any], cells: memoryview, cell: int) -> Callable[..., Any]:
    """Return ``function`` with the mark set while it runs."""

    @wraps(function)
    def marked(*args: Any, **kwargs: Any) -> Any:
        cells[cell] = 1
        try:
            return function(*args, **kwargs)
        finally:
            cells[cell] = 0

    return marked


def train(place: Place, site: str, seed: int, calls: int | None = None) -> None:
    """Log until killed, in short bursts; or ``calls`` times, and then wait until everything is confirmed."""
    source, cells, mark = random.Random(seed), place.cells, writing(site)
    connecting.Spool = partial(Spool, segment_bytes=SEGMENT_BYTES)  # type: ignore[misc, assignment]
    connected_run.start = lambda box: None  # type: ignore[assignment, return-value] - the campaign starts the agent
    for name in ("_open_segment", "_close_segment"):
        setattr(Spool, name, marking(getattr(Spool, name), cells, rotating(site)))
    run = fedtrack.connect(place.url, site=site, run=RUN, token=place.token, outbox=place.root / "outbox")
    # What was attempted but never confirmed may or may not be there: that value is not used again.
    first = value = cells[attempted(site)] + 1
    while calls is None or value < first + calls:
        cells[attempted(site)] = value
        cells[mark] = 1
        run.log({"loss": value / 8}, step=value)
        cells[returned(site)] = value
        cells[mark] = 0
        value += 1
        if value % 20 == 0:
            sleep(source.uniform(0.01, 0.03))
            while calls is None and value - cells[arrived(site)] > MOST_BEHIND:
                sleep(0.01)
    found = run.finish(timeout=120)
    assert found.complete, found


def ship(place: Place) -> None:
    """Send both sites' records as the agent of a run does."""
    HttpsLine._send = marking(HttpsLine._send, place.cells, SHIP)  # type: ignore[method-assign]
    agent.run(Outbox(place.root / "outbox").run(Target(place.url, RUN)))


def collect(place: Place) -> None:
    """Run the collector until it is killed or asked to end."""
    Database.transaction = _marked_commit(Database.transaction, place.cells)  # type: ignore[method-assign]
    marked = NamedReceiver("marked", {"cells": str(place.root / "cells"), "cell": DELIVER})
    CollectorServer(Settings(place.collector, port=place.port, receivers={"marked": marked})).run()


def _marked_commit(transaction: Callable[..., Any], cells: memoryview) -> Callable[..., Any]:
    """Return a transaction whose mark is set while its COMMIT is under way."""

    @contextmanager
    def marked(self: Database) -> Iterator[Any]:
        with _Commit(transaction(self), cells) as writer:
            yield writer

    return marked


class _Commit:
    """The context of a transaction, with a mark around its end."""

    def __init__(self, inner: Any, cells: memoryview) -> None:
        self._inner = inner
        self._cells = cells

    def __enter__(self) -> Any:
        return self._inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        self._cells[COMMIT] = 1
        try:
            return self._inner.__exit__(*error)
        finally:
            self._cells[COMMIT] = 0
