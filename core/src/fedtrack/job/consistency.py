"""Consistency: the checks of the parts of a job against each other, and the remarks on arguments without an effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fedtrack.errors import ConfigError
from fedtrack.job.components import Component, IntimeModelSelector, ScriptRunner, ValidationJsonGenerator
from fedtrack.job.cross_site_eval import CrossSiteEval
from fedtrack.job.fedavg import FedAvg
from fedtrack.job.loaded_job import LoadedSite
from fedtrack.job.values import check_no_repetition
from fedtrack.plugins.workflow import TASKS, Workflow
from fedtrack.tracking.normalise import shorten
from fedtrack.tracking.receiver import Receiver

#: Names of metrics of which less is better.
_LOSS = re.compile(
    r"(?:loss|(?:^|[^a-z])(?:err(?:or)?|r?mse|mae|mape|nll|perplexity|ppl|wer|cer))(?:$|[^a-z])", re.IGNORECASE
)


def check_workflows(path: Path, workflows: Mapping[str, Workflow], sites: Sequence[str]) -> None:
    """Check the workflows against the sites and against each other.

    Raises:
        ConfigError: A workflow does not fit the sites, or begins with a round that was played before.
    """
    played: int | None = 0
    for index, (id_, workflow) in enumerate(workflows.items()):
        try:
            workflow.check(sites)
        except ConfigError as error:
            raise ConfigError(f"{path}: the workflow {id_!r}: {error}") from None
        if isinstance(workflow, FedAvg):
            if played is not None and 0 < workflow.start_round < played:
                raise ConfigError(
                    f"{path}: $.workflows[{index}].args.start_round is {workflow.start_round}, but the workflows "
                    f"before it play the rounds up to {played - 1}; leave it out, or give {played} or more."
                )
            played = None if played is None else max(played, workflow.start_round) + workflow.num_rounds
        elif not isinstance(workflow, CrossSiteEval):
            played = None  # a workflow of a plugin may play fewer rounds than it plans


def check_tasks(path: Path, listed: Sequence[str], asked: frozenset[str]) -> None:
    """Check that an executor does the tasks that the workflows ask for.

    Args:
        path: The file with the executor.
        listed: The executor's tasks.
        asked: The tasks of the workflows.

    Raises:
        ConfigError: A task is unknown or missing.
    """
    where = f"{path}: $.executors[0].tasks"
    valid = f"valid are {', '.join(map(repr, sorted(TASKS)))}, or '*' for all"
    if not listed:
        raise ConfigError(f"{where} is empty; {valid}.")
    check_no_repetition(where, listed)
    if unknown := [task for task in listed if task not in TASKS and task != "*"]:
        raise ConfigError(f"{where} names {shorten(unknown[0])}; {valid}.")
    if "*" in listed:
        if len(listed) > 1:
            raise ConfigError(f"{where} has '*', which means all tasks, and others; keep one of both.")
        return
    if missing := sorted(asked - set(listed)):
        raise ConfigError(
            f"{where} lacks {missing[0]!r}, which the workflows of the job ask for, and a site has one executor; "
            "add it, or write ['*']."
        )


def remarks(
    workflows: Mapping[str, Workflow], components: Mapping[str, Component | Receiver], sites: Sequence[LoadedSite]
) -> Iterator[str]:
    """Yield why arguments of the job have no effect, one clause for each."""
    names = [site.name for site in sites]
    for id_, workflow in workflows.items():
        yield from (f"the workflow {id_!r}: {reason}" for reason in workflow.without_effect(names))
    for id_, item in components.items():
        if isinstance(item, ValidationJsonGenerator) and _all(workflows, FedAvg) and item != type(item)():
            yield f"the component {id_!r} has no effect, because no workflow of the job evaluates across sites"
        if isinstance(item, IntimeModelSelector) and _all(workflows, CrossSiteEval) and item != type(item)():
            yield f"the component {id_!r} has no effect, because no workflow of the job trains"
        if isinstance(item, IntimeModelSelector) and item.mode == "max" and _LOSS.search(item.key_metric):
            yield (
                f"the component {id_!r} selects the model with the largest {shorten(item.key_metric)}; if smaller "
                "values are better, give key_metric_mode='min'"
            )
    default = ScriptRunner("x.py").command
    unused = [site.name for site in sites if not site.runner.launch_external_process and site.runner.command != default]
    if unused:
        yield f"the command of {unused[0]} has no effect without launch_external_process"


def _all(workflows: Mapping[str, Workflow], kind: type[Workflow]) -> bool:
    return all(isinstance(workflow, kind) for workflow in workflows.values())
