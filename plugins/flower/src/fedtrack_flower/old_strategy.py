"""OldStrategy: a strategy of ``flwr.server.strategy``, with the methods that Flower had before its message API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from fedtrack import ConnectedRun

#: The name of each of its phases in metrics.
_PHASES = {"fit": "train", "evaluate": "evaluate"}


def is_old(strategy: Any) -> bool:
    """Return whether a strategy has the earlier methods."""
    return hasattr(strategy, "configure_fit") and hasattr(strategy, "aggregate_fit")


def wrap(strategy: Any, run: ConnectedRun) -> None:
    """Let an earlier strategy log what it does.

    Such a strategy gets all answers at once, so the seconds of each node are not known.
    """
    for method, kind in _PHASES.items():
        asked: dict[int, int] = {}
        for name, around in (("configure", _configuring), ("aggregate", _aggregating)):
            called = f"{name}_{method}"
            setattr(strategy, called, around(getattr(strategy, called), kind, run, asked))


def _configuring(configure: Callable[..., Any], kind: str, run: ConnectedRun, asked: dict[int, int]) -> Any:
    @wraps(configure)
    def wrapped(server_round: int, *args: Any, **kwargs: Any) -> Any:
        run.round(server_round)
        found = list(configure(server_round, *args, **kwargs))
        asked[server_round] = len(found)
        return found

    return wrapped


def _aggregating(aggregate: Callable[..., Any], kind: str, run: ConnectedRun, asked: dict[int, int]) -> Any:
    @wraps(aggregate)
    def wrapped(server_round: int, results: list[Any], failures: list[Any], *args: Any, **kwargs: Any) -> Any:
        counts = {"asked": asked.pop(server_round, len(results) + len(failures))}
        counts |= {"answered": len(results), "failed": len(failures)}
        counts |= {f"node/{proxy.cid}/bytes": _bytes_of(answer) for proxy, answer in results if _bytes_of(answer)}
        _log(run, kind, counts, server_round)
        found = aggregate(server_round, results, failures, *args, **kwargs)
        _log(run, kind, _aggregated(found), server_round)
        return found

    return wrapped


def _aggregated(found: Any) -> dict[str, float]:
    """Return the aggregated metrics, and the loss of an evaluation."""
    if not (isinstance(found, tuple) and len(found) == 2):
        return {}
    loss, metrics = found
    numbers = {"loss": float(loss)} if _is_number(loss) else {}
    if isinstance(metrics, Mapping):
        numbers |= {str(name): float(value) for name, value in metrics.items() if _is_number(value)}
    return numbers


def _bytes_of(answer: Any) -> int:
    parameters = getattr(answer, "parameters", None)
    return sum(map(len, parameters.tensors)) if parameters is not None else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _log(run: ConnectedRun, kind: str, metrics: Mapping[str, float], server_round: int) -> None:
    if metrics:
        run.log({f"{kind}/{name}": value for name, value in metrics.items()}, step=server_round)
