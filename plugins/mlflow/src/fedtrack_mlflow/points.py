"""Points: metric records become MLflow's points.

MLflow identifies a point by (key, timestamp in ms, step, value), and stores equal points once. So delivering a record
twice is harmless. There are two consequences:

* The step of a metric without a step is the microseconds since the start of its run. So two calls are two points, the
  step depends only on the record, and the latest value is the one that was logged last, also after a restart.
  ``is_stepless`` recognises such a point.
* Calls with the same key, step and value in the same millisecond are one point, as with MLflow's own client: a chart
  could not distinguish them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedtrack.tracking.records import Metric as MetricRecord

if TYPE_CHECKING:
    from mlflow.entities import Metric

_LARGEST = sys.float_info.max


def point(record: MetricRecord, name: str, started_ms: int) -> Metric:
    """Return the point of ``record`` under ``name``, in a run that started at ``started_ms`` (epoch, ms)."""
    from mlflow.entities import Metric

    # MLflow refuses times before 1970. Such a clock is wrong anyway, and the point matters more than its time.
    timestamp = max(0, record.time_ns // 1_000_000)
    step = elapsed_us(record.time_ns, started_ms) if record.step is None else record.step
    return Metric(name, record.value, timestamp, step)


def elapsed_us(time_ns: int, started_ms: int) -> int:
    """Return the whole microseconds from ``started_ms`` to ``time_ns``; negative if the clocks disagree."""
    return time_ns // 1000 - started_ms * 1000


def is_stepless(point: Metric, started_ms: int) -> bool:
    """Return whether the record of ``point`` had no step."""
    return bool(point.step // 1000 == point.timestamp - started_ms)


def identity(point: Metric) -> tuple[str, int, int, float | None]:
    """Return the fields by which MLflow identifies the point; None stands for NaN, which does not equal itself."""
    value = point.value
    # SQL stores hold an infinity as the largest float64 with its sign.
    shown = None if value != value else min(max(value, -_LARGEST), _LARGEST)
    return point.key, point.timestamp, point.step, shown


def distinct(points: Iterable[Metric]) -> list[Metric]:
    """Return the points in their order, without duplicates, of which MLflow would store only one."""
    return list({identity(point): point for point in points}.values())
