"""Hookspecs: every hook of fedtrack, in one place.

A plugin is an installed distribution with an entry point in the group ``fedtrack``. The entry point names a light
module, which must not import its backend's SDK, because every listing of plugins imports the module. It implements
hooks with ``@fedtrack.hookimpl``. An implementation may take any subset of a hook's arguments. Later versions may add
arguments and remove none.

Hooks that register return classes, not instances. Hooks that report are called in the server's process, one
after the other. An error of an implementation is logged under its plugin's name; it never stops the job or the other
plugins. Records never travel through hooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fedtrack.plugins.markers import hookspec

if TYPE_CHECKING:
    import typer

    from fedtrack.client.fl_model import FLModel
    from fedtrack.engine import Engine
    from fedtrack.plugins.example import Example
    from fedtrack.plugins.workflow import Workflow
    from fedtrack.tracking.receiver import Receiver, RunInfo
    from fedtrack.tracking.writer import Writer


@hookspec
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    """Called once, when plugins are loaded: return the receiver classes that this plugin provides."""
    return ()


@hookspec
def fedtrack_writers() -> Iterable[type[Writer]]:
    """Called once, when plugins are loaded: return the writer classes that this plugin provides."""
    return ()


@hookspec
def fedtrack_engines() -> Iterable[type[Engine]]:
    """Called once, when plugins are loaded: return the engine classes that this plugin provides."""
    return ()


@hookspec
def fedtrack_workflows() -> Iterable[type[Workflow]]:
    """Called once, when plugins are loaded: return the workflow classes that this plugin can execute."""
    return ()


@hookspec
def fedtrack_aggregators() -> Iterable[type[Any]]:
    """Called once, when plugins are loaded: return the aggregator classes that this plugin provides."""
    return ()


@hookspec
def fedtrack_examples() -> Iterable[Example]:
    """Called once, when plugins are loaded: return the runnable examples that this plugin provides."""
    return ()


@hookspec
def fedtrack_cli(app: typer.Typer) -> None:
    """Called when the command line is assembled: add commands to it.

    Args:
        app: The top-level typer application.
    """


@hookspec
def fedtrack_job_started(run: RunInfo) -> None:
    """Called when the receivers are starting and before the first round.

    Args:
        run: The run, as the server's receivers get it.
    """


@hookspec
def fedtrack_round_started(run: RunInfo, current_round: int) -> None:
    """Called before a round's tasks are sent to the sites.

    Args:
        run: The run.
        current_round: Counted from 0.
    """


@hookspec
def fedtrack_result_received(run: RunInfo, site: str, model: FLModel) -> None:
    """Called when a site's result has been accepted; its parameters are aggregated later.

    Args:
        run: The run.
        site: The site's name.
        model: The result's metrics and meta; ``params`` is None, so that no hook can hold a model in memory.
    """


@hookspec
def fedtrack_site_failed(run: RunInfo, site: str, error: str) -> None:
    """Called when a site died, timed out or sent a result that was refused.

    Args:
        run: The run.
        site: The site's name.
        error: The reason, as shown to the user.
    """


@hookspec
def fedtrack_round_ended(run: RunInfo, current_round: int, metrics: Mapping[str, float]) -> None:
    """Called when a round's results are averaged and the model is saved.

    Args:
        run: The run.
        current_round: Counted from 0.
        metrics: The sites' metrics, averaged with the weights of the aggregation.
    """


@hookspec
def fedtrack_job_ended(run: RunInfo, status: str) -> None:
    """Called after the receivers are closed.

    Args:
        run: The run.
        status: ``"completed"``, ``"failed"`` or ``"aborted"``.
    """


@hookspec
def fedtrack_event_fired(run: RunInfo, event_name: str) -> None:
    """Called for an event that a workflow fires under a name of its own.

    Args:
        run: The run.
        event_name: The event's name.
    """
