"""Settle: every fault ends, each site ends in order, and everything that is anywhere is brought where it belongs."""

from __future__ import annotations

from simulation.steps import apply
from simulation.world import World

#: More turns than any simulation needs.
_TURNS = 3_000


class Endless(Exception):  # noqa: N818 - what the simulation has found
    """Something never comes to an end."""


def settle(world: World) -> None:
    """Bring everything where it belongs.

    Raises:
        Endless: It never ends.
    """
    world.network.weather = (0, 0, 0, 0)
    for disk in world.disks.values():
        disk.room, disk.failing_syncs = None, 0
    for backend in world.backends:
        backend.mood = "up"
    for node in (*world.sites.values(), *world.agents.values(), world.server, world.deliverer):
        if node is not None:
            node.process.fuse = None
    while world.network.late:
        world.network.arrive(0)
    for index in range(len(world.names)):
        apply(world, ("leave", (index,), 0))
    if world.setting.ships:
        for name in world.names:
            _ship(world, name)
    else:
        _forward(world)
    if world.a_server() is not None:
        _deliver(world)
    apply(world, ("finish", (), 0))


def _ship(world: World, name: str) -> None:
    agent = world.an_agent(name)
    agent.end(world.stored[name], world.clock.seconds + 1e6)
    for _ in range(_TURNS):
        wait = world.run(agent.process, lambda: agent.shipper.step(world.clock.seconds))
        if wait is None:
            if not agent.shipper.complete and not agent.shipper.rejected:
                raise Endless(f"{name} never gets an end of its goodbye")
            return
        world.clock.seconds += wait
    raise Endless(f"{name} ships without an end")


def _forward(world: World) -> None:
    server = world.a_server()
    assert server is not None
    server.forwarder.end_all()
    for _ in range(_TURNS):
        found = world.run(server.process, server.forwarder._forward_all)
        if not found:
            return
    raise Endless("the forwarder forwards without an end")


def _deliver(world: World) -> None:
    deliverer = world.a_deliverer()
    assert deliverer is not None, "a deliverer can start where a server has started"
    for delivery in deliverer.deliveries:
        delivery.drain("completed")
    for delivery in deliverer.deliveries:
        for _ in range(_TURNS):
            wait = world.run(deliverer.process, lambda one=delivery: one.step(world.clock.seconds))  # type: ignore[misc]
            if wait is None:
                break
            world.clock.seconds += wait
        else:
            raise Endless(f"{delivery.name} delivers without an end")
