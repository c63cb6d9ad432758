"""GatedCalls: the fast path of a spool whose site has a policy.

A metric without a policy is one compiled call. With one, a dict and a few comparisons come before it; whatever is
not plain goes the way of every other record, through ``Spool.append``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import time_ns
from typing import TYPE_CHECKING, Any

from fedtrack.policy.gate import Gate
from fedtrack.tracking.records import Metric, Record

if TYPE_CHECKING:
    from fedtrack.spool.spool import Spool

_STEP_LIMIT = 2**63


class GatedCalls:
    """Stores what the gate releases of metrics, and counts the rest as withheld.

    Args:
        spool: The spool.
        gate: Its gate.
        append_metric: The spool's own fast path for a metric.
        append_metrics: The spool's own fast path for several.
        append_released: Stores records that need no further look.
    """

    def __init__(
        self,
        spool: Spool,
        gate: Gate,
        append_metric: Callable[[Any, Any, Any], bool],
        append_metrics: Callable[[Any, Any, Any], bool],
        append_released: Callable[[list[Record]], None],
    ) -> None:
        self._spool = spool
        self._gate = gate
        self._plans = gate.plans
        self._append_metric = append_metric
        self._append_metrics = append_metrics
        self._append_released = append_released

    def append_metric(self, key: Any, value: Any, step: Any) -> bool:
        """Store or withhold a plain metric; return False if nothing was decided. See ``SpoolBase.append_metric``."""
        # In one function: between two training steps, each call of another one costs about a microsecond.
        if type(value) is not float or type(key) is not str:
            return False
        if step is not None and (type(step) is not int or not -_STEP_LIMIT <= step < _STEP_LIMIT):
            return False
        plan = self._plans.get(key)
        if plan is None:
            if not _is_plain(key, step):
                return False
            plan = self._gate.plan(key)
        if plan.is_stateless:
            released = plan.shape(value)
        else:
            spool = self._spool
            with spool._lock:
                released = plan.release(value, None, spool._round)
        if released is None:
            self._spool.count_withheld(1)
        elif not self._append_metric(key, released, step):
            # Decided once: the gate counts, and would take a second look for a second call.
            self._append_released([Metric(time_ns(), key, released, step)])
        return True

    def append_metrics(self, metrics: Any, step: Any, time: Any) -> bool:
        """Store or withhold plain metrics of one step; see ``SpoolBase.append_metrics``."""
        if type(metrics) is not dict or not (time is None or (type(time) is int and 0 <= time < _STEP_LIMIT)):
            return False
        if not all(type(value) in (float, int) and _is_plain(key, step) for key, value in metrics.items()):
            return False
        if not all(-(2.0**53) <= value <= 2.0**53 for value in metrics.values() if type(value) is int):
            return False
        released = self._released(metrics)
        if len(released) < len(metrics):
            self._spool.count_withheld(len(metrics) - len(released))
        if released and not self._append_metrics(released, step, time):
            now = time_ns() if time is None else time
            self._append_released([Metric(now, key, value, step) for key, value in released.items()])
        return True

    def _released(self, metrics: Mapping[str, float]) -> dict[str, float]:
        found: dict[str, float] = {}
        for key, value in metrics.items():
            released = self._spool.judged(key, float(value))
            if released is not None:
                found[key] = released
        return found


def _is_plain(key: Any, step: Any) -> bool:
    if type(key) is not str or not 0 < len(key) < 256 or not key.isascii():
        return False
    return step is None or (type(step) is int and -_STEP_LIMIT <= step < _STEP_LIMIT)
