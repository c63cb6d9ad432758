"""Calls: the log calls of the simulation's scripts, and what only the scripts know of them."""

from __future__ import annotations

from collections.abc import Callable

from simulation.nodes import Site
from simulation.truth import Call
from simulation.world import World

from fedtrack.spool.spool import MIN_LIMIT_BYTES

#: The bytes of a stream from which on the limit may drop a record.
_FULL_SPOOL_BYTES = 64 * 1024 - 20_000
_LOOKS_AGAIN_SECONDS = 0.1


def log(world: World, site: int, how: int, count: int) -> None:
    name = world.names[site % len(world.names)]
    kind = {6: "blob", 7: "bad"}.get(how, "metric")
    if how == 8:
        _log_together(world, name, count + 2)
        return
    for _ in range(count + 1):
        _call(world, name, kind)


def _call(world: World, name: str, kind: str) -> None:
    """Make one log call."""
    node = world.a_site(name)
    if node is None:
        return
    call = world.truth.new(name, kind, world.rounds[name], world.clock.seconds)
    _watched(world, node, [call], lambda: _write(node, call))


def _write(site: Site, call: Call) -> None:
    if call.kind in ("blob", "big"):
        site.writer.record_text(call.key, call.text, call.number)
    else:
        site.writer.record_metric(call.key, "no number" if call.kind == "bad" else float(call.number), call.number)


def _log_together(world: World, name: str, count: int) -> None:
    """Log several metrics with one call: all of them or none."""
    node = world.a_site(name)
    if node is None:
        return
    calls = [world.truth.new(name, "metric", world.rounds[name], world.clock.seconds) for _ in range(count)]
    metrics = {call.key: float(call.number) for call in calls}
    _watched(world, node, calls, lambda: node.writer.record_metrics(metrics, calls[0].number))


def _watched(world: World, site: Site, calls: list[Call], action: Callable[[], None]) -> None:
    """Make log calls, and note which of them returned and whether there was room for them."""
    disk = world.disks[calls[0].site]
    refused, syncs = disk.refused, disk.failing_syncs
    returned: list[bool] = []

    def act() -> None:
        try:
            action()
        except KeyboardInterrupt:
            world.truth.cut_off.add(calls[0].site)
            return
        returned.append(True)

    world.run(site.process, act)
    for call in calls:
        call.returned = bool(returned)
        if disk.refused > refused or disk.room == 0 or (world.truth.big and _is_full(world, site)):
            call.excused = "full"
            world.truth.full = True
        elif disk.failing_syncs < syncs:
            call.excused = "sync"


def _is_full(world: World, site: Site) -> bool:
    streams = set(site.spool.streams)
    sizes = [path.stat().st_size for path in site.folder.glob("*.spool") if path.name.split("-")[0] in streams]
    if sum(sizes) > _FULL_SPOOL_BYTES:
        world.full_at[site.spool.stream] = world.clock.seconds
    # A full spool looks only now and then whether there is room again.
    return world.clock.seconds - world.full_at.get(site.spool.stream, 0.0) < _LOOKS_AGAIN_SECONDS


def big(world: World, site: int) -> None:
    """Log much more than usual, so that a spool reaches its limit."""
    world.truth.big = True
    name = world.names[site % len(world.names)]
    for _ in range(6):
        _call(world, name, "big")
    node = world.sites.get(name)
    for stream in node.spool.streams if node is not None else ():
        size = sum(path.stat().st_size for path in world.spool(name).glob(f"{stream}-*.spool"))
        world.trace.spooled(name, size, MIN_LIMIT_BYTES)
