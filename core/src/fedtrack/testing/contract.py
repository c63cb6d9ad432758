"""ReceiverContract: the class that a receiver plugin's test inherits."""

from __future__ import annotations

from fedtrack.testing.laws.delivery import DeliveryLaws
from fedtrack.testing.laws.kinds import KindLaws
from fedtrack.testing.laws.lifecycle import LifecycleLaws
from fedtrack.testing.laws.values import ValueLaws


class ReceiverContract(LifecycleLaws, DeliveryLaws, ValueLaws, KindLaws):
    """Every law of a receiver, as tests.

    Override ``make_receiver`` and ``read``. Laws about kinds that the receiver does not support are skipped.
    If a backend cannot keep a law in full, declare it with a class attribute of ``Laws`` (``idempotent``,
    ``survives_kill``, ``time_resolution_ns``, ``relative_error``). Each has the strictest value by default.
    """
