"""LocalServer: the interface for workflows if the sites are processes of this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from fedtrack import Writer
from fedtrack.errors import DamagedError, SiteError
from fedtrack.files import write_whole
from fedtrack.runs import Goodbye
from fedtrack.tracking import SERVER
from fedtrack.tracking.records import TaskRecord
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.exchange import Exchange
from fedtrack_local.models.model_store import ModelStore
from fedtrack_local.models.params import load_params
from fedtrack_local.room import when_there_is_room
from fedtrack_local.task_report import TaskReport
from fedtrack_local.workflows.cross_site_results import CrossSiteResults, write_results
from fedtrack_local.workflows.model_selector import ModelSelector
from fedtrack_local.workflows.round import end_round
from fedtrack_local.workflows.state import WorkflowState
from fedtrack_local.workflows.workflow import Answer, GroupAnswer, RoundResult, Task
from fedtrack_local.workflows.workflow_log import WorkflowLog

log = logging.getLogger(__name__)


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
        selector = run.job.selector
        self.selector = ModelSelector(selector.key_metric, selector.mode) if selector else None
        best = self.models.load_best()
        if self.selector and best and best.current_round is not None:
            value = best.metrics.get(self.selector.key_metric)
            self.selector.restore({"best_round": best.current_round, "best_value": value})
        self._rounds_file = run.workspace.server / "rounds.msgpack"
        self.rounds: list[RoundResult] = read_rounds(self._rounds_file)
        self.state = WorkflowState(run.workspace.server / "workflow-states.msgpack")
        self.workflows = WorkflowLog(run.workspace.server / "workflow-log.msgpack")
        self.first_round, self.next_round = 0, self._unplayed_round()
        self.final_metrics: dict[str, float] = {}
        self.cross_site: CrossSiteResults = {}
        self.cross_site_tables: dict[str, CrossSiteResults] = {}
        results = run.job.results_json
        self.cross_site_file = (
            run.workspace.server / results.results_dir / results.json_file_name if results is not None else None
        )
        self.is_over = False
        self._active = run
        self._exchange = exchange
        self._writer = Writer(run.spool)
        self._report: TaskReport | None = None
        if selector is not None:
            self._writer.record_direction(selector.key_metric, "higher" if selector.mode == "max" else "lower")

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

    def enter(self, workflow: str) -> bool:
        """Make ``workflow`` the current one, by its id in the job; return whether it must be executed.

        It was executed already if the run was resumed after its end.
        """
        self.state.enter(workflow)
        self.next_round = self._unplayed_round()
        # An earlier version kept no log, and counted the rounds of each workflow from 0.
        passage = self.workflows.begin(workflow, self.next_round if self.workflows.has_any else 0)
        self.first_round = passage.first_round
        self.cross_site = self.cross_site_tables[workflow] = passage.cross_site
        if passage.ended:
            self.final_metrics = passage.final_metrics
        elif self.next_round > passage.first_round:
            self.final_metrics = {}  # a round was played before the resume: they are those of an earlier workflow
        return not passage.ended

    def leave(self) -> None:
        """Record that the current workflow was executed to its end."""
        own = self._own_results_file()
        if self.cross_site and own is not None:
            write_results(self.cross_site, own)
        self.cross_site_tables[self.state.workflow] = self.cross_site
        self.workflows.end(self.state.workflow, self.final_metrics, self.cross_site)

    def end_last_round(self) -> None:
        """Make up for the end of a round whose model was saved when the server was killed."""
        stored = self.models.load()
        if stored is None or not stored.result:
            return
        try:
            result = msgspec.msgpack.decode(stored.result, type=RoundResult)
        except msgspec.MsgspecError as error:
            raise DamagedError(
                f"The model in {self.models.folder} has no readable results of its round: {error}; move it away."
            ) from None
        if result.current_round not in {known.current_round for known in self.rounds}:
            self._active.spool.mark_round(result.current_round)
            end_round(self, result)

    def initial_params(self) -> Mapping[str, Any] | None:
        """Return the model that the current workflow goes on from."""
        stored = self.models.load()
        if stored is not None:
            return stored.params
        return load_params(self._active.job.initial_model) if self._active.job.initial_model else None

    def own_folder(self, name: str) -> Path:
        """Return a folder of the current workflow."""
        workflows, current = self._active.job.workflows, self.state.workflow
        earlier = list(workflows)[: list(workflows).index(current)]
        is_first = all(type(workflows[id_]) is not type(workflows[current]) for id_ in earlier)
        return self.run.folder / (name if is_first else f"{name}-{current}")

    def finish_round(self, result: RoundResult) -> None:
        """Store the result of a round."""
        self.rounds.append(result)
        self.next_round = max(self.next_round, result.current_round + 1)
        self.final_metrics = {}  # they were those of the model that entered the round
        data = msgspec.msgpack.encode(self.rounds)  # JSON has no NaN
        when_there_is_room(lambda: write_whole(self._rounds_file, data))

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Log the server's own metrics."""
        self._writer.record_metrics(metrics, step)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin."""
        self._active.host.notify(hook, **arguments)

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site."""
        try:
            self._exchange.reject(site, error)
        finally:
            if self._report is not None:
                self._note(self._report.rejected(site, error))

    def dismiss(self) -> None:
        """Tell the processes that there are no further tasks, and wait for their end."""
        self._exchange.dismiss()

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer | GroupAnswer]:
        """Send ``task`` to ``sites`` and yield their answers as they come."""
        self._active.spool.mark_round(task.current_round)
        asked = [site for site in sites if site not in self.failed]
        forwarded = all(site.streams_to_server for site in self._active.job.sites)
        report = self._report = TaskReport(task, asked, forwarded=forwarded)
        self._note(report.begun())
        try:
            for answer in self._exchange.ask(task, sites):
                report.take(answer)
                yield answer
        finally:  # also if too few sites are left: those that were asked and failed are the interesting ones
            self._note(report.ended(self.failed))

    def _note(self, records: Iterable[TaskRecord]) -> None:
        for record in records:
            if not self._active.spool.note(record):
                log.warning("the disk has no room for the server's record of the task %r", record.task)

    def _unplayed_round(self) -> int:
        """Return the first round that has neither a saved model nor a result."""
        stored = self.models.load()
        played = [result.current_round for result in self.rounds]
        if stored is not None and stored.current_round is not None:
            played.append(stored.current_round)
        return max(played, default=-1) + 1

    def _own_results_file(self) -> Path | None:
        """Return the file that keeps the current evaluation's results beside those of others; None if it is alone."""
        workflows, file = self._active.job.workflows, self.cross_site_file
        kind = type(workflows[self.state.workflow])
        if file is None or sum(type(workflow) is kind for workflow in workflows.values()) == 1:
            return None
        return file.with_name(f"{file.stem}-{self.state.workflow}{file.suffix}")


def read_rounds(path: Path) -> list[RoundResult]:
    """Return the finished rounds in a file, also of an earlier version; none if there is no file."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[RoundResult]) if path.exists() else []
