"""Round: sites do a task, their results are averaged, and the result is stored and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import msgspec

from fedtrack.errors import ConfigError
from fedtrack_local.workflows.workflow import RoundResult, Server, Task


def play_round(server: Server, task: Task, sites: Sequence[str]) -> tuple[Mapping[str, Any], RoundResult]:
    """Run the round ``task.current_round``.

    The model is saved, and also the best one if the job selects one. The round's metrics are logged, and the plugins'
    hooks of a round are called. A killed run is resumed with the round after the last one whose model was saved; what
    that round had not logged and stored yet is then made up for.

    Args:
        server: The server that the workflow was given.
        task: The task for the sites, with the model that enters the round.
        sites: The sites that get the task, in the order in which their results are averaged.

    Returns:
        The round's model, mapped from its file, and the round's other results.

    Raises:
        ConfigError: The task has no round.
        JobError: No site sent a usable result, or too few sites are left.
    """
    # They need numpy, or a journal, which neither a site nor the description of a job does.
    from fedtrack_local.averaging.result_limits import ResultLimits
    from fedtrack_local.averaging.round_average import RoundAverage

    if task.current_round is None:
        raise ConfigError(f"The task {task.name!r} has no current_round; a round is numbered, counted from 0.")
    started = perf_counter()
    params, current_round = task.params, task.current_round
    limits = ResultLimits(task.max_weight, task.max_norm)
    server.notify("fedtrack_round_started", current_round=current_round)
    average = RoundAverage(server, params, sites, task.aggregator, task.needed, limits)
    for answer in server.ask(task, sites):
        average.add(answer)
    new_params, metrics, used = average.close()
    if params is not None and server.selector is not None and server.selector.observe(current_round, metrics):
        server.models.save_best(params, current_round, metrics)
    size = average.size + len(sites) * _size(params)
    result = RoundResult(current_round, metrics, used, perf_counter() - started, size, average.total_weight)
    new_params = server.models.save(new_params, current_round, result=msgspec.msgpack.encode(result))
    end_round(server, result)
    return new_params, result


def end_round(server: Server, result: RoundResult) -> None:
    """Log, store and report a round whose model is saved.

    The metrics come first: if the process is killed between the steps, a resumed run repeats them all, and a metric
    that is stored twice is better than one that is missing.
    """
    from fedtrack_local.workflows.round_metrics import round_metrics, summary_of

    server.log_metrics(result.metrics | round_metrics(summary_of(result)), result.current_round)
    server.finish_round(result)
    server.notify("fedtrack_round_ended", current_round=result.current_round, metrics=result.metrics)


def _size(params: Mapping[str, Any] | None) -> int:
    return sum(int(array.nbytes) for array in params.values()) if params else 0
