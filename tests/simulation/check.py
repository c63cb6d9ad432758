"""Check: compares the files with the truth at the end of a simulation, and what fedtrack says with both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from simulation.backend import ModelReceiver
from simulation.oracle import METRIC, TEXT, Row, read_dead, read_gaps, read_marks, read_rows
from simulation.truth import Call
from simulation.world import World

from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.runs import verify as verifying
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.tally import CountedSite, Goodbye, SiteTally, Tally, take_tally


def check(world: World) -> Iterator[str]:
    """Yield each invariant that does not hold at the end."""
    path = world.folder / "journal.db"
    rows = read_rows(path)
    yield from _check_journal(world, rows)
    yield from _check_calls(world, rows)
    yield from _check_receivers(world, rows)
    yield from _check_files(world, rows)
    if not path.exists():
        return
    # A site that is said to be gone goes on behind numbers that found no room, which looks like a removed segment.
    mistaken = world.truth.full and any(name == "gone" for name, _, _ in world.plan.steps)
    if not (world.truth.power or world.truth.wiped or mistaken):
        for gap in read_gaps(path):
            yield f"gap: {gap} was recorded, and nothing was damaged"
    said = _tally(world)
    for name in world.names:
        yield from _check_tally(
            world, name, said, {event.number for row in rows if row.site == name for event in row.events}
        )
    if not world.setting.ships:
        yield from _check_verify(world, said)


def _check_journal(world: World, rows: list[Row]) -> Iterator[str]:
    """Order, exactly once, and what was logged."""
    last: dict[tuple[str, str], tuple[int, int]] = {}
    seen: set[int] = set()
    for row in rows:
        for seq, number, record in row.events:
            call = world.truth.calls.get(number)
            if call is None or call.site != row.site:
                yield f"journal: {row.site} never logged {record}"
                continue
            if number in seen:
                yield f"once: call {number} of {row.site} is in the journal twice"
            seen.add(number)
            before = last.get((row.site, row.stream), (0, 0))
            if seq <= before[0] or (number <= before[1] and not call.nested):
                yield f"order: call {number} ({seq}) of {row.site} comes after {before}"
            last[row.site, row.stream] = (seq, before[1] if call.nested else number)
            if row.round != call.round and not (row.round is None and world.truth.power):
                yield f"round: call {number} of {row.site} was made in round {call.round}, and is in {row.round}"
            yield from _check_content(call, record)


def _check_content(call: Call, record: list[Any]) -> Iterator[str]:
    if record[0] == METRIC:
        right = call.kind == "metric" and record[3] == float(call.number)
    elif record[0] == TEXT:
        right = call.kind == "big" and record[3] == call.text
        if call.kind == "blob":
            data = call.text.encode()
            right = record[3] == [hashlib.sha256(data).hexdigest(), len(data)] or record[3] == call.text
    else:
        right = call.kind == "bad" or (call.kind == "blob" and call.excused in ("full", "sync"))
    if not right:
        yield f"content: {call} is in the journal as {record}"


def _check_calls(world: World, rows: list[Row]) -> Iterator[str]:
    """Each call that returned is in the journal, or was dropped for want of room."""
    journaled = {event.number for row in rows for event in row.events}
    for call in world.truth.calls.values():
        if call.returned and not call.excused and call.number not in journaled:
            yield f"lost: {call} returned, and is in no journal"


def _check_receivers(world: World, rows: list[Row]) -> Iterator[str]:
    """Each receiver has every event that it supports and does not refuse, at least once and in order."""
    place = {(row.site, row.stream, event.seq): event for row in rows for event in row.events}
    for backend in world.backends:
        dead = read_dead(world.folder / LEDGER_FILE, backend.name)
        wanted = {key for key, event in place.items() if event.record[0] in (METRIC, TEXT)}
        got = set(backend.kept)
        for key in sorted(wanted - dead - got):
            yield f"receiver: {backend.name} never got {key}, which is call {place[key].number}"
        if not world.truth.wiped and got - wanted:
            yield f"receiver: {backend.name} got {sorted(got - wanted)}, which the journal does not have"
        poison = {
            key
            for key in wanted
            if backend.refuses and place[key].record[0] == METRIC and place[key].number % backend.refuses == 0
        }
        if not backend.strange and dead != poison and not world.truth.wiped:
            yield f"dead letters: {backend.name} has {sorted(dead)}, refused were {sorted(poison)}"
        yield from _check_order(backend.name, backend.kept)


def _check_order(name: str, kept: list[tuple[str, str, int]]) -> Iterator[str]:
    """An event that comes for the first time comes after all earlier ones of its stream."""
    highest: dict[tuple[str, str], int] = {}
    seen: set[tuple[str, str, int]] = set()
    for event in kept:
        site, stream, seq = event
        if event not in seen and seq < highest.get((site, stream), 0):
            yield f"receiver: {name} got {event} for the first time after {highest[site, stream]}"
        seen.add(event)
        highest[site, stream] = max(seq, highest.get((site, stream), 0))


def _check_files(world: World, rows: list[Row]) -> Iterator[str]:
    """What is in the journal is not in a spool any more, and each long text is where its record says."""
    marks = read_marks(world.folder / "journal.db")
    for name in world.names if not world.truth.power else ():  # damage is kept as evidence
        for path in sorted(world.spool(name).glob("*.spool")):
            yield f"left: {path.name} of {name}; the marks are {marks}"
    for row in rows:
        for _, number, record in row.events:
            if record[0] == TEXT and isinstance(record[3], list):
                path = world.folder / "blobs" / record[3][0]
                call = world.truth.calls[number]
                if call.excused != "power" and (not path.exists() or path.read_bytes() != call.text.encode()):
                    yield f"text: that of call {number} of {row.site} is not beside the journal"


def _tally(world: World) -> Tally:
    if not world.setting.ships:
        return tally_of(StoredRun(world.base))
    journal = Journal(world.folder / "journal.db", read_only=True)
    ledger = Ledger(world.folder / LEDGER_FILE, journal, read_only=True)
    try:
        byes = journal.goodbyes.all()
        sites = []
        for name in world.names:
            bye, goodbye = byes.get(name), None
            if bye is not None and bye.logged is not None:
                goodbye = Goodbye(bye.logged, bye.dropped, None, False, bye.withheld, bye.rejected)
            elif journal.goodbyes.has_everything_of(name):
                goodbye = Goodbye()
            sites.append(CountedSite(name, None, goodbye))
        return take_tally({"server": (journal, ledger)}, sites)
    finally:
        ledger.close()
        journal.close()


def _check_tally(world: World, name: str, tally: Tally, journaled: set[int]) -> Iterator[str]:
    """What the tally says of a site is true, and it never calls a loss complete."""
    said: SiteTally = tally.sites[name]
    truth = world.truth
    missing = [call for call in truth.of(name) if call.returned and call.number not in journaled]
    # The agents and the new journal of a server that lost its journal cannot know of streams that were sent in full.
    unknowable = ("power",)
    unsaid = [call for call in missing if call.excused not in unknowable]
    if said.journaled != len(journaled):
        yield f"tally: {name} has {said.journaled} in the journal, and has {len(journaled)}"
    if unsaid and tally.events_complete and name not in truth.untraced:
        yield f"tally: complete, but {name} lost {unsaid}"
    if truth.power or truth.wiped or name in truth.untraced:
        return
    slack = len(truth.of(name)) if name in truth.cut_off else 0
    if said.dropped is not None and not len(missing) <= said.dropped <= len(missing) + slack:
        yield f"tally: {name} dropped {said.dropped}, and dropped {len(missing)}"
    withheld = truth.withheld.get(name, 0)
    if said.withheld is not None and not withheld <= said.withheld <= withheld + (4 if slack else 0):
        yield f"tally: {name} kept {said.withheld}, and kept {withheld}"
    if not truth.full and journaled and not said.complete and not missing:
        yield f"tally: {name} is not complete, and lacks nothing: {said}"


def _check_verify(world: World, tally: Tally) -> Iterator[str]:
    """Verify finds what the tally and the backends show, and nothing else."""
    run = StoredRun(world.base)
    receivers = {"server": {one.name: ModelReceiver(one, world.trace) for one in world.backends}}
    # The run has no job that names the receiver: it is a model, and no plugin. All of verify itself is the real one.
    with mock.patch.object(verifying, "receivers_of", return_value=receivers):
        problems = [found.problem for found in verifying.verify(run) if found.problem]
    refused = any(one.dead for one in tally.receivers.values())
    if bool(problems) != (not tally.events_complete or refused) and not world.truth.wiped:
        yield f"verify: {problems}, and the tally is {'complete' if tally.events_complete else 'not complete'}"
