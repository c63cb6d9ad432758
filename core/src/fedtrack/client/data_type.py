"""AnalyticsDataType: the kinds of value that ``fedtrack.client.log`` takes (names of ``nvflare.apis.analytix``)."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from fedtrack.tracking.writer import Writer


class AnalyticsDataType(StrEnum):
    """The kind of a logged value. A value of a plural kind is a mapping of names to values."""

    SCALAR = "SCALAR"
    SCALARS = "SCALARS"
    METRIC = "METRIC"
    METRICS = "METRICS"
    PARAMETER = "PARAMETER"
    PARAMETERS = "PARAMETERS"
    TEXT = "TEXT"
    TAG = "TAG"
    TAGS = "TAGS"


def data_type_of(value: Any) -> AnalyticsDataType:
    """Return the data type for ``value``: a member, its name, a member of FLARE's own enum, or None for a scalar.

    Raises:
        TypeError: It is none of these.
    """
    if value is None:
        return AnalyticsDataType.SCALAR
    try:
        return AnalyticsDataType[str(getattr(value, "name", value)).upper()]
    except KeyError:
        valid = ", ".join(AnalyticsDataType)
        raise TypeError(f"log() got data_type={value!r}; valid are {valid}") from None


def record(writer: Writer, data_type: AnalyticsDataType, key: Any, value: Any, step: Any) -> None:
    """Log ``value`` as a record of ``data_type``; a bad value is counted as rejected and never raises."""
    one = _SINGULAR.get(data_type, data_type)
    if one is data_type:
        _RECORD[one](writer, key, value, step)
        return
    try:
        items = list(value.items())
    except Exception:  # no mapping
        message = f"the value of {data_type} is a {type(value).__name__}; it must be a mapping of names to values"
        writer.record_rejected(key, TypeError(message))
        return
    if one is AnalyticsDataType.METRIC:
        writer.record_metrics(dict(items), step)
        return
    for name, item in items:
        _RECORD[one](writer, name, item, step)


_SINGULAR = {
    AnalyticsDataType.SCALARS: AnalyticsDataType.METRIC,
    AnalyticsDataType.METRICS: AnalyticsDataType.METRIC,
    AnalyticsDataType.PARAMETERS: AnalyticsDataType.PARAMETER,
    AnalyticsDataType.TAGS: AnalyticsDataType.TAG,
}

_RECORD: dict[AnalyticsDataType, Callable[[Writer, Any, Any, Any], None]] = {
    AnalyticsDataType.SCALAR: lambda writer, key, value, step: writer.record_metric(key, value, step),
    AnalyticsDataType.METRIC: lambda writer, key, value, step: writer.record_metric(key, value, step),
    AnalyticsDataType.PARAMETER: lambda writer, key, value, step: writer.record_param(key, value),
    AnalyticsDataType.TEXT: lambda writer, key, value, step: writer.record_text(key, value, step),
    AnalyticsDataType.TAG: lambda writer, key, value, step: writer.record_tag(key, value),
}
