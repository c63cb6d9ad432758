"""Steps: what each step of a plan does to the world. A step that is not possible now does nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from simulation.calls import big, log
from simulation.disk import Process
from simulation.plan import Step
from simulation.world import World

from fedtrack.delivery.delivery import Delivery

#: The sync of a spool that is durable on its host, as documented.
_HOST_SYNC_SECONDS = 0.5


def apply(world: World, step: Step) -> None:
    """Do one step."""
    name, numbers, start = step
    world.chance = random.Random(start)
    _ACTIONS[name](world, *numbers)
    world.bury()


def _round(world: World, site: int, number: int) -> None:
    name = world.names[site % len(world.names)]
    node = world.a_site(name)
    if node is not None:
        world.rounds[name] = number or None
        node.spool.mark_round(number or None)


def _withhold(world: World, site: int, count: int) -> None:
    name = world.names[site % len(world.names)]
    node = world.a_site(name)
    if node is None:
        return

    def withhold() -> bool:
        try:
            node.spool.count_withheld(count + 1)
        except KeyboardInterrupt:
            world.truth.cut_off.add(name)
            return False
        return True

    if world.run(node.process, withhold):
        world.truth.withheld[name] = world.truth.withheld.get(name, 0) + count + 1


def _interrupt(world: World, site: int, changes: int, raises: int) -> None:
    """Let a signal arrive in the next log calls of a site; its handler raises, or logs itself."""
    name = world.names[site % len(world.names)]
    node = world.a_site(name)
    if node is None:
        return

    def handler() -> None:
        if raises:
            raise KeyboardInterrupt
        inner = world.truth.new(name, "metric", world.rounds[name], world.clock.seconds)
        before = world.disks[name].refused
        node.writer.record_metric(inner.key, float(inner.number), inner.number)
        inner.nested = inner.returned = True
        inner.excused = "full" if world.disks[name].refused > before or world.disks[name].room == 0 else ""

    node.process.trap, node.process.handler = changes, handler


def _leave(world: World, site: int) -> None:
    """End a site in order."""
    name = world.names[site % len(world.names)]
    node = world.sites.get(name)
    if node is None:
        return
    node.process.trap = None
    world.note_trace(name, node)
    if world.run(node.process, lambda: node.spool.close() is None):
        before = world.stored[name]
        world.stored[name] = None if before is None else before + node.spool.stored
        world.sites.pop(name)
        world.files.bury(node.process)


def _forward(world: World, site: int, passes: int) -> None:
    """Let the records of sites be moved to the journal."""
    if world.setting.ships:
        name = world.names[site % len(world.names)]
        agent = world.an_agent(name)
        for _ in range(passes + 1):
            wait = world.run(agent.process, lambda: agent.shipper.step(world.clock.seconds))
            world.clock.seconds += wait or 0.0
            if not agent.process.alive:
                return
        return
    server = world.a_server()
    for _ in range(passes + 1):
        if server is None or not server.process.alive:
            return
        due = world.run(server.process, lambda: server.forwarder.step(world.clock.seconds))
        world.clock.seconds = max(world.clock.seconds, due or 0.0)


def _deliver(world: World, count: int) -> None:
    deliverer = world.a_deliverer()
    for _ in range(count + 1):
        if deliverer is None or not deliverer.process.alive:
            return
        deliveries, now = deliverer.deliveries, world.clock.seconds
        waits = world.run(deliverer.process, partial(_step_all, deliveries, now))
        if waits is None or min(wait or 0.0 for wait in waits) >= 1.0:
            return  # there is nothing to deliver
        world.clock.seconds += 0.02


def _step_all(deliveries: list[Delivery], now: float) -> list[float | None]:
    return [one.step(now) for one in deliveries]


def _pass(world: World, milliseconds: int) -> None:
    """Let time pass; the threads of the sites work meanwhile."""
    left = milliseconds / 1000
    while left > 0:
        world.clock.seconds += min(left, _HOST_SYNC_SECONDS)
        left -= _HOST_SYNC_SECONDS
        if left > -_HOST_SYNC_SECONDS / 2:
            sync(world)


def sync(world: World) -> None:
    """Let the threads that sync spools have their turn."""
    for name, site in list(world.sites.items()):
        disk = world.disks[name]
        syncs = disk.failing_syncs
        site.process.trap = None  # only the main thread runs a signal's handler
        for thread in list(world.clock.threads):
            if thread.belongs_to(site.spool):
                world.run(site.process, thread.turn)
        if site.process.alive and disk.failing_syncs == syncs:
            world.safe[name] = max((call.number for call in world.truth.of(name) if call.returned), default=0)


def _process(world: World, who: int) -> Process | None:
    name = world.names[who % len(world.names)]
    nodes = (world.sites.get(name), world.agents.get(name), world.server, world.deliverer)
    node = nodes[who % 4]
    return node.process if node is not None else None


def _kill(world: World, who: int, changes: int, torn: int) -> None:
    """Kill a process at once, or during one of its next changes."""
    process = _process(world, who)
    if process is None:
        return
    if changes == 0:
        world.kill(process)
    else:
        process.fuse, process.torn = changes - 1, torn / 3


def _finish(world: World) -> None:
    """End the server and the deliverer in order, as at the end of a run that is resumed later."""
    if world.deliverer is not None:
        deliverer = world.deliverer
        if world.run(deliverer.process, lambda: deliverer.close() is None):
            world.kill(deliverer.process)
    if world.server is not None:
        server = world.server
        if world.run(server.process, lambda: server.close() is None):
            world.kill(server.process)


def _gone(world: World, site: int) -> None:
    """Tell the server that a site's process has ended, also if that is wrong."""
    if world.server is not None:
        world.server.forwarder.end(world.names[site % len(world.names)])


def _weather(world: World, *percents: int) -> None:
    world.network.weather = (percents[0], percents[1], percents[2], percents[3])


def _late(world: World, index: int) -> None:
    world.network.arrive(index)


def _mood(world: World, backend: int, mood: int) -> None:
    world.backends[backend].mood = ("up", "down", "strange")[mood]


def _jump(world: World, how: int) -> None:
    """Set the wall clock."""
    world.clock.ahead_ns += (10**9, -(10**9), 10**17, -(10**17))[how]


def _disk_of(world: World, which: int) -> str:
    return ("server", *world.names)[which % (1 + len(world.names))]


def _full(world: World, which: int, room: int) -> None:
    world.disks[_disk_of(world, which)].room = room * 8 if room % 2 else 0


def _room(world: World, which: int) -> None:
    world.disks[_disk_of(world, which)].room = None


def _refuse(world: World, which: int, syncs: int) -> None:
    world.disks[_disk_of(world, which)].failing_syncs = syncs + 1


def _power(world: World, which: int) -> None:
    """Let the power of a machine fail."""
    disk = world.disks[_disk_of(world, which)]
    journaled = world.journaled()
    here = [name for name in world.names if world.disks[name] is disk]
    for name in here:
        calls = [call for call in world.truth.of(name) if call.number not in journaled]
        if world.setting.durability == "host":
            calls = [call for call in calls if call.number > world.safe[name]]
        if world.setting.durability != "disk":
            world.excuse(calls, "power")
        world.excuse([call for call in calls if call.excused == "sync"], "power")
    nodes = [world.sites.get(name) for name in here] + [world.agents.get(name) for name in here]
    if world.disks["server"] is disk:
        nodes += [world.server, world.deliverer]  # type: ignore[list-item]
    for node in nodes:
        if node is not None:
            world.kill(node.process)
    world.truth.power = True
    disk.room, disk.failing_syncs = None, 0
    disk.lose_power(world.chance)


def _wipe(world: World) -> None:
    """Remove the journal."""
    path = world.folder / "journal.db"
    if not path.exists():
        return
    journaled = world.journaled()
    world.excuse([call for call in world.truth.calls.values() if call.number in journaled], "wiped")
    _finish(world)
    for node in (world.server, world.deliverer):
        if node is not None:
            world.kill(node.process)
    world.truth.wiped = True
    for file in (path, *(Path(f"{path}{end}") for end in ("-wal", "-shm", "-journal"))):
        file.unlink(missing_ok=True)
    world.trace.wiped()


_ACTIONS: dict[str, Callable[..., None]] = {
    "log": log,
    "round": _round,
    "withhold": _withhold,
    "interrupt": _interrupt,
    "leave": _leave,
    "forward": _forward,
    "deliver": _deliver,
    "pass": _pass,
    "kill": _kill,
    "finish": _finish,
    "gone": _gone,
    "weather": _weather,
    "late": _late,
    "mood": _mood,
    "jump": _jump,
    "full": _full,
    "room": _room,
    "refuse": _refuse,
    "power": _power,
    "big": big,
    "wipe": _wipe,
}
