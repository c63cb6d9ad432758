"""Plan: what all policies together say of one metric's key, and what has been released of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

from fedtrack.policy.policy import Policy, Rule

_NAN = math.nan


class Plan:
    """The strictest of several rules, and the state of one key.

    Args:
        rules: The rule of each policy for the key; None where a policy does not allow it.

    Attributes:
        denied: Whether no value may be released.
        once_a_round: Whether a round's first value is released, and no other one.
        every: Of how many values the first one is released.
        low: The smallest value.
        high: The largest value.
        sig: How many significant digits are kept; None keeps all.
        min_n: For how many samples a value must stand; 0 means that nobody asks.
        is_stateless: Whether what is released depends on the value alone, which needs no lock.
    """

    __slots__ = (
        "_calls",
        "_format",
        "_rounds",
        "denied",
        "every",
        "high",
        "is_stateless",
        "low",
        "min_n",
        "once_a_round",
        "sig",
    )

    def __init__(self, rules: Iterable[Rule | None]) -> None:
        found = list(rules)
        known = [rule for rule in found if rule is not None]
        self.low = max((rule.clip[0] for rule in known if rule.clip), default=-math.inf)
        self.high = min((rule.clip[1] for rule in known if rule.clip), default=math.inf)
        self.sig = min((rule.sig for rule in known if rule.sig), default=None)
        self.min_n = max((rule.min_n for rule in known if rule.min_n), default=0)
        self.every = max((rule.every for rule in known if isinstance(rule.every, int)), default=1)
        self.once_a_round = any(rule.every == "round" for rule in known)
        self._format = None if self.sig is None else f"%.{self.sig - 1}e"
        # Of two ranges that do not meet, no value is in both.
        self.denied = len(known) < len(found) or self.low > self.high
        self.is_stateless = not (self.denied or self.min_n or self.every > 1 or self.once_a_round)
        self._calls = 0
        self._rounds: set[int | None] = set()

    @classmethod
    def of(cls, policies: Iterable[Policy], key: str) -> Plan:
        """Return the plan of several policies for a key."""
        return cls(policy.rule(key) for policy in policies)

    def release(self, value: float, n: int | None, round: int | None) -> float | None:
        """Return what may be released of a value, and note that; None if it is withheld.

        Args:
            value: The value of a log call.
            n: For how many samples it stands; None if the call does not say.
            round: The round; None outside rounds, which counts as one.
        """
        if self.denied or (self.min_n and (n is None or n < self.min_n)):
            return None
        if self.every > 1:
            self._calls += 1
            if (self._calls - 1) % self.every:
                return None
        if self.once_a_round:
            if round in self._rounds:
                return None
            self._rounds.add(round)
        return self.shape(value)

    def shape(self, value: float) -> float | None:
        """Return a value within the range and with the digits that are allowed; None if there is none.

        A second time changes nothing.
        """
        if value != value:
            return _NAN  # the bits of a NaN could hold anything
        bounded = self.low if value < self.low else self.high if value > self.high else value
        if self._format is None or bounded in (math.inf, -math.inf):
            return bounded
        rounded = float(self._format % bounded)
        if self.low <= rounded <= self.high:
            return rounded
        return self._inside(bounded, ROUND_FLOOR if rounded > self.high else ROUND_CEILING)

    def _inside(self, bounded: float, rounding: str) -> float | None:
        """Return a value of the range, rounded away from the bound that it is next to."""
        exact = Decimal(bounded)
        digit = Decimal(1).scaleb(exact.adjusted() - (self.sig or 17) + 1)
        with localcontext() as context:
            context.prec = 2000
            found = float(exact.quantize(digit, rounding=rounding))
        return found if self.low <= found <= self.high else None

    def could_release(self, value: float, n: int | None) -> bool:
        """Return whether a value may be one that was released, whatever was released before."""
        if self.denied or (self.min_n and (n is None or n < self.min_n)):
            return False
        return value != value or self.shape(value) == value
