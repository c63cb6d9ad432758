"""Confirmation: a server is asked for one of the points that it has just taken.

The answer to ``log_batch`` is ``{}``. A proxy that answers every request with ``200 {}`` says the same, and the points
are then nowhere. So one point of each call is read back, which takes one short request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedtrack.errors import Transient
from fedtrack_mlflow.points import identity

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

_ENDPOINT = "/api/2.0/mlflow/metrics/get-history-bulk-interval"


def confirm(client: MlflowClient, run_id: str, points: Sequence[Metric]) -> None:
    """Read back the last of the points that a server has just taken; call within ``settings.calm()``.

    A server that does not have the short request is asked for the metric's whole history. So is one that does not
    show the point, because it may not know the short request as MLflow does.

    Args:
        client: MLflow's client for the server.
        run_id: The run of the points.
        points: At least one.

    Raises:
        Transient: The server does not have the point.
        MlflowException: The server cannot be reached.
    """
    last = points[-1]
    if _is_in_interval(client, run_id, last):
        return
    # A point that came before is no proof, so the point itself is looked for.
    if any(identity(found) == identity(last) for found in client.get_metric_history(run_id, last.key)):
        return
    raise Transient(
        f"the server has answered that it took {len(points):,} points, and does not have {last.key!r} at step "
        f"{last.step}; is there a proxy before it that answers in its place?"
    )


def _is_in_interval(client: MlflowClient, run_id: str, point: Metric) -> bool:
    """Return whether the server shows a point of this metric at this step and time; False also if it cannot tell."""
    from mlflow.tracking._tracking_service.utils import _get_store
    from mlflow.utils.rest_utils import http_request

    store: Any = _get_store(client.tracking_uri)  # type: ignore[no-untyped-call]
    params = {"run_ids": [run_id], "metric_key": point.key, "start_step": point.step, "end_step": point.step}
    answer = http_request(  # type: ignore[no-untyped-call]
        store.get_host_creds(), _ENDPOINT, "GET", params=params | {"max_results": 100}, raise_on_status=False
    )
    if answer.status_code != 200:
        return False
    try:
        shown = answer.json().get("metrics", [])
        return any(int(one["timestamp"]) == point.timestamp for one in shown)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
