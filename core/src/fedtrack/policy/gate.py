"""Gate: decides in the process that logs, for each call, what of it may be stored."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

import msgspec

from fedtrack.policy.plan import Plan
from fedtrack.policy.policy import Policy
from fedtrack.tracking.records import (
    Artifact,
    Control,
    Direction,
    Gap,
    Histogram,
    Image,
    Metric,
    Param,
    Record,
    Rejected,
    RoundMark,
    Tag,
    Text,
    Withheld,
)

#: The field of a policy that speaks of a kind of record.
FIELD: dict[type[Record], str] = {
    Param: "params",
    Tag: "tags",
    Text: "text",
    Image: "images",
    Histogram: "histograms",
    Artifact: "artifacts",
}

#: The weight of a model in ``FLModel.meta``; ``fedtrack.client.MetaKey`` has the same name.
WEIGHT = "NUM_STEPS_CURRENT_ROUND"

#: A script that logs under ever new keys must not fill the memory; what is beyond is withheld.
_MOST_PLANS = 100_000
_DENIED = Plan([None])


class Gate:
    """What several policies together let out of one process; its owner makes one call at a time.

    Args:
        policies: The policies of the site's owner and of the job; the strictest wins.

    Attributes:
        policies: The policies.
        plans: What they say of each metric's key that was asked for.
    """

    def __init__(self, policies: Iterable[Policy]) -> None:
        self.policies = tuple(policies)
        self.plans: dict[str, Plan] = {}

    def plan(self, key: str) -> Plan:
        """Return what is said of a metric's key."""
        found = self.plans.get(key)
        if found is None:
            if len(self.plans) >= _MOST_PLANS:
                return _DENIED
            found = self.plans[key] = Plan.of(self.policies, key)
        return found

    def metric(self, key: str, value: float, n: int | None, round: int | None) -> float | None:
        """Return what may be released of a metric, and note that; None if it is withheld."""
        return self.plan(key).release(value, n, round)

    def allows(self, kind: type[Record], key: str) -> bool:
        """Return whether a record of a kind may be released under its key; for a metric, whether any value may."""
        if kind is Metric:
            return not self.plan(key).denied
        field = FIELD.get(kind)
        return field is not None and self.allows_field(field, key)

    def allows_field(self, field: str, key: str) -> bool:
        """Return whether every policy allows a key of a kind; for the fields see ``Policy.allows``."""
        return all(policy.allows(field, key) for policy in self.policies)

    def release(self, record: Record, round: int | None) -> Record | None:
        """Return what may be stored of a record, and note that; None if it is withheld."""
        if isinstance(record, Metric):
            value = self.metric(record.key, record.value, record.n, round)
            return None if value is None else msgspec.structs.replace(record, value=value)
        if isinstance(record, Rejected):
            return self.hushed(record)
        if isinstance(record, Gap | RoundMark):
            return record
        key = str(getattr(record, "path", None) or getattr(record, "key", ""))
        return record if self.allows(type(record), key) else None

    def hushed(self, record: Rejected) -> Rejected:
        """Return a rejection as its type: what was refused, a patient's number perhaps, stays at the site."""
        key = record.key.strip("'\"")
        return Rejected(record.time_ns, key if self.names(key) else "", error_type(record.reason))

    def names(self, key: str) -> bool:
        """Return whether every policy has a rule that names a metric's key, so that the key is no secret."""
        return not self.plan(key).denied if key and len(self.plans) < _MOST_PLANS else False

    def allows_note(self, record: Control) -> bool:
        """Return whether a control record may leave the site; of those that name a key, the key must be allowed."""
        if isinstance(record, Direction):
            return record.better in ("higher", "lower") and self.allows(Metric, record.key)
        return isinstance(record, RoundMark | Withheld)

    def could_release(self, record: Record) -> bool:
        """Return whether a record may have come through such a gate, whatever was released before."""
        if isinstance(record, Control):
            return self.allows_note(record)
        if isinstance(record, Metric):
            return self.plan(record.key).could_release(record.value, record.n)
        if isinstance(record, Rejected):
            return record == self.hushed(record)
        return self.release(record, None) is not None

    def released_model(
        self, metrics: dict[str, float] | None, meta: dict[str, Any], round: int | None
    ) -> tuple[dict[str, float] | None, dict[str, Any]]:
        """Return what may leave the site of ``FLModel.metrics`` and ``meta``.

        The params are not looked at, and neither is their weight in an average, which belongs to them.
        """
        kept = {
            name: value
            for name, value in meta.items()
            if self.allows_field("meta", str(name)) or (name == WEIGHT and isinstance(value, int | float))
        }
        return self.released_metrics(metrics, round), kept

    def released_metrics(self, metrics: dict[str, float] | None, round: int | None) -> dict[str, float] | None:
        """Return what may leave the site of ``FLModel.metrics``; they count apart from log calls."""
        if metrics is None:
            return None
        found: dict[str, float] = {}
        for key, value in metrics.items():
            plan = self.plans.setdefault(f"\0{key}", Plan.of(self.policies, key))
            released = plan.release(float(value), None, round)
            if released is not None:
                found[key] = released
        return found


def error_type(reason: str) -> str:
    """Return the type of error with which a reason begins, if it is one of Python's own, else ``Refused``.

    Whoever writes a script also names its exceptions.
    """
    name = reason.partition(":")[0]
    found = getattr(builtins, name, None) if name.isidentifier() else None
    return name if isinstance(found, type) and issubclass(found, BaseException) else "Refused"
