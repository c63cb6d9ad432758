"""Plan: the setting and the steps of a simulation, made from a seed; a step means the same beside any other steps."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

from fedtrack.spool.spool import Durability

#: A name, its numbers, and last the number from which its own randomness starts.
Step: TypeAlias = tuple[str, tuple[int, ...], int]


class Setting(NamedTuple):
    """What does not change in a simulation.

    Attributes:
        ships: Whether sites are on machines of their own, with agents; otherwise the server reads their spools.
        durability: Of the spools.
        sites: How many sites there are.
        segment_bytes: The size of their segments.
    """

    ships: bool
    durability: Durability
    sites: int
    segment_bytes: int


class Plan(NamedTuple):
    """A simulation."""

    seed: int
    setting: Setting
    steps: tuple[Step, ...]


#: By name: how often a step is chosen, and the number of values of each of its numbers.
WORK: dict[str, tuple[int, tuple[int, ...]]] = {
    "log": (30, (2, 9, 4)),
    "round": (4, (2, 4)),
    "forward": (16, (2, 4)),
    "deliver": (14, (12,)),
    "leave": (2, (2,)),
    "pass": (4, (2000,)),
}
#: The faults; a plan has some of them, so that no fault hides the effects of another one in every plan.
FAULTS: dict[str, tuple[int, tuple[int, ...]]] = {
    "kill": (9, (4, 14, 4)),
    "finish": (3, ()),
    "gone": (3, (2,)),
    "weather": (4, (40, 40, 40, 40)),
    "late": (5, (8,)),
    "mood": (5, (2, 3)),
    "jump": (3, (4,)),
    "full": (3, (3, 600)),
    "room": (4, (3,)),
    "refuse": (3, (3, 3)),
    "withhold": (3, (2, 3)),
    "interrupt": (5, (2, 3, 2)),
    "power": (2, (3,)),
    "big": (4, (2,)),
    "wipe": (1, ()),
}


def make(seed: int) -> Plan:
    """Return the plan of a seed."""
    chance = random.Random(seed)
    durability: Durability = chance.choice(("process", "host", "disk"))
    setting = Setting(
        chance.random() < 0.5, durability, chance.choice((1, 1, 2)), chance.choice((200, 400, 1_000, 4_000))
    )
    faults = {name for name in FAULTS if chance.random() < (0.15 if name in ("wipe", "power", "big") else 0.4)}
    kinds = WORK | {name: FAULTS[name] for name in FAULTS if name in faults}
    names, weights = list(kinds), [weight for weight, _ in kinds.values()]
    steps = []
    for name in chance.choices(names, weights, k=chance.randrange(15, 60)):
        numbers = tuple(chance.randrange(limit) for limit in kinds[name][1])
        steps.append((name, numbers, chance.randrange(2**32)))
    return Plan(seed, setting, tuple(steps))


def show(plan: Plan) -> str:
    """Return a plan as the text that ``read`` understands."""
    setting = plan.setting
    head = f"{plan.seed}:{int(setting.ships)},{setting.durability},{setting.sites},{setting.segment_bytes}"
    return " ".join([head, *(_shown(step) for step in plan.steps)])


def read(words: Iterable[str]) -> Plan:
    """Return the plan of a text.

    Raises:
        ValueError: The text is no plan.
    """
    head, *steps = words
    seed, _, rest = head.partition(":")
    ships, durability, sites, segment_bytes = rest.split(",")
    if durability not in ("process", "host", "disk"):
        raise ValueError(f"{durability!r} is no durability")
    setting = Setting(ships == "1", durability, int(sites), int(segment_bytes))  # type: ignore[arg-type]
    return Plan(int(seed), setting, tuple(_read(step) for step in steps))


def _shown(step: Step) -> str:
    name, numbers, start = step
    return ":".join([name, ",".join(map(str, numbers)), str(start)])


def _read(text: str) -> Step:
    name, numbers, start = text.split(":")
    return name, tuple(int(number) for number in numbers.split(",") if number), int(start)
