"""LocalServer: the interface for workflows if the sites are processes of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fedtrack import Writer
from fedtrack.errors import SiteError
from fedtrack.files import write_whole
from fedtrack.runs import Goodbye
from fedtrack.tracking import SERVER
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.exchange import Exchange
from fedtrack_local.models.model_store import ModelStore
from fedtrack_local.models.params import load_params
from fedtrack_local.workflows.cross_site_results import CrossSiteResults
from fedtrack_local.workflows.model_selector import ModelSelector
from fedtrack_local.workflows.state import WorkflowState
from fedtrack_local.workflows.workflow import Answer, GroupAnswer, RoundResult, Task


class LocalServer:
    """See ``fedtrack_local.workflows.workflow.Server``; used by one thread only.

    Args:
        run: The run.
        exchange: Gives the tasks to the sites.

    Attributes:
        is_over: Whether the workflows have ended.
    """

    def __init__(self, run: ActiveRun, exchange: Exchange) -> None:
        self.run = run.info
        self.models = ModelStore(run.workspace.server / "app_server")
        self._stored = self.models.load()
        stored_round = self._stored.current_round if self._stored else None
        self.next_round = 0 if stored_round is None else stored_round + 1
        selector = run.job.selector
        self.selector = ModelSelector(selector.key_metric, selector.key_metric_mode) if selector else None
        best = self.models.load_best()
        if self.selector and best and best.current_round is not None:
            value = best.metrics.get(self.selector.key_metric)
            self.selector.restore({"best_round": best.current_round, "best_value": value})
        self._rounds_file = run.workspace.server / "rounds.msgpack"
        self.rounds: list[RoundResult] = read_rounds(self._rounds_file)
        self.state = WorkflowState(run.workspace.server / "workflow-states.msgpack")
        self.final_metrics: dict[str, float] = {}
        self.cross_site: CrossSiteResults = {}
        results = run.job.results_json
        self.cross_site_file = (
            run.workspace.server / results.results_dir / results.json_file_name if results is not None else None
        )
        self.is_over = False
        self._active = run
        self._exchange = exchange
        self._writer = Writer(run.spool)

    @property
    def waiting(self) -> set[str]:
        """The sites that have not answered the current task yet."""
        return self._exchange.waiting

    @property
    def failed(self) -> dict[str, SiteError]:
        """The errors of the sites that have failed, by name."""
        return self._active.roster.failed

    def sites(self) -> list[str]:
        """Return the sites that are alive, in the job's order."""
        return self._active.roster.alive()

    def goodbye(self, site: str) -> Goodbye | None:
        """Return what the processes of a site, or of the server, have counted; see ``Exchange.goodbye``."""
        if site == SERVER:
            spool = self._active.spool
            return Goodbye(spool.stored, spool.dropped, frozenset(spool.streams))
        return self._exchange.goodbye(site)

    def folder_of(self, site: str) -> Path:
        """Return the folder of a site, or of the server."""
        return self._active.workspace.site(site)

    def initial_params(self) -> Mapping[str, Any] | None:
        """Return the job's initial model."""
        if self._stored is not None:
            return self._stored.params
        return load_params(self._active.job.initial_model) if self._active.job.initial_model else None

    def finish_round(self, result: RoundResult) -> None:
        """Store the result of a round."""
        self.rounds.append(result)
        write_whole(self._rounds_file, msgspec.msgpack.encode(self.rounds))  # JSON has no NaN

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Log the server's own metrics."""
        self._writer.record_metrics(metrics, step)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin."""
        self._active.host.notify(hook, **arguments)

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site."""
        self._exchange.reject(site, error)

    def dismiss(self) -> None:
        """Tell the processes that there are no further tasks, and wait for their end."""
        self._exchange.dismiss()

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer | GroupAnswer]:
        """Send ``task`` to ``sites`` and yield their answers as they come."""
        self._active.spool.mark_round(task.current_round)
        yield from self._exchange.ask(task, sites)


def read_rounds(path: Path) -> list[RoundResult]:
    """Return the finished rounds in a file, also of an earlier version; none if there is no file."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[RoundResult]) if path.exists() else []
