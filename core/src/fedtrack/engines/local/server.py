"""LocalServer: what a workflow uses when the sites are processes of this machine."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic, time
from typing import Any

import msgspec

from fedtrack.engines.local.host import ReceiverHost
from fedtrack.engines.local.messages import EndRun, Exited, SendResult, SendTask, SiteFailed, SiteLeft, SkipTask
from fedtrack.engines.local.site_backend import RESULT_FILE, TASK_FILE
from fedtrack.engines.local.sites import SitePool
from fedtrack.engines.local.workspace import Workspace
from fedtrack.errors import JobError, ModelError, SiteError
from fedtrack.federated.cross_site_results import CrossSiteResults
from fedtrack.federated.fl_model import FLModel, ParamsType
from fedtrack.federated.model_link import hand_over, link_or_copy
from fedtrack.federated.model_selector import ModelSelector
from fedtrack.federated.params import load_params
from fedtrack.federated.persistor import ModelPersistor
from fedtrack.federated.workflow import Answer, RoundResult, Task
from fedtrack.job.load import LoadedJob
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.spool import Spool
from fedtrack.tracking.writer import Writer

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LEAVE_SECONDS = 60.0


class LocalServer:
    """See ``fedtrack.federated.workflow.Server``; used by one thread only.

    Args:
        job: What runs.
        run: The run.
        workspace: Where it runs.
        pool: The sites' processes, started.
        host: The journal and the receivers.
        spool: Where the server's own records go.
    """

    def __init__(
        self, job: LoadedJob, run: RunInfo, workspace: Workspace, pool: SitePool, host: ReceiverHost, spool: Spool
    ) -> None:
        self.run = run
        self.persistor = ModelPersistor(workspace.server / "app_server")
        self._stored = self.persistor.load()
        stored_round = self._stored.current_round if self._stored else None
        self.next_round = 0 if stored_round is None else stored_round + 1
        selector = job.selector
        self.selector = ModelSelector(selector.key_metric, selector.key_metric_mode) if selector else None
        best = self.persistor.load_best()
        if self.selector and best and best.current_round is not None:
            value = best.metrics.get(self.selector.key_metric)
            self.selector.restore({"best_round": best.current_round, "best_value": value})
        self._rounds_file = workspace.server / "rounds.msgpack"
        self.rounds: list[RoundResult] = _read_rounds(self._rounds_file)
        self.final_metrics: dict[str, float] = {}
        self.cross_site: CrossSiteResults = {}
        results = job.results_json
        self.cross_site_file = (
            workspace.server / results.results_dir / results.json_file_name if results is not None else None
        )
        #: The sites that have not answered the current task yet.
        self.waiting: set[str] = set()
        self.failed: dict[str, SiteError] = {}
        self.left: dict[str, SiteLeft] = {}
        self._job = job
        self._workspace = workspace
        self._pool = pool
        self._host = host
        self._spool = spool
        self._writer = Writer(spool)
        self._names = [site.name for site in job.sites]
        self._needed = len(self._names) if job.meta.min_clients is None else job.meta.min_clients
        self._raised: dict[str, SiteFailed] = {}
        self._task_id = 0

    def sites(self) -> list[str]:
        """Return the sites that are alive, in the job's order."""
        return [name for name in self._names if name not in self.failed]

    @property
    def own(self) -> SiteLeft:
        """What the server itself has logged."""
        return SiteLeft(self._spool.stored, self._spool.dropped, self._spool.streams)

    def journal_of(self, site: str) -> Path:
        """Return where a site that hosts receivers keeps its own journal."""
        return self._workspace.site(site) / "journal.db"

    def initial_params(self) -> Mapping[str, Any] | None:
        """Return the job's initial model."""
        if self._stored is not None:
            return self._stored.params
        return load_params(self._job.initial_model) if self._job.initial_model else None

    def finish_round(self, result: RoundResult) -> None:
        """Remember what a round brought."""
        self.rounds.append(result)
        temporary = self._rounds_file.with_suffix(".tmp")
        temporary.write_bytes(msgspec.msgpack.encode(self.rounds))  # JSON has no NaN
        temporary.replace(self._rounds_file)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        """Log the server's own metrics."""
        self._writer.record_metrics(metrics, step)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin."""
        self._host.notify(hook, **arguments)

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site."""
        self._pool.kill(site, signal.SIGTERM)
        self._fail(site, SiteError(site, str(error)))

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer]:
        """Send ``task`` to ``sites`` and yield their answers as they come."""
        self._task_id += 1
        waiting = self.waiting = {site for site in sites if site not in self.failed}
        self._publish(task, sorted(waiting))
        started = monotonic()
        while waiting:
            for event in self._pool.wait(_POLL_SECONDS):
                if isinstance(event.message, SendResult) and event.message.task_id == self._task_id:
                    answer = self._answer(event.site, task, event.message)
                    if answer is not None and event.site in waiting:
                        waiting.discard(event.site)
                        yield answer
                elif isinstance(event.message, SkipTask) and event.message.task_id == self._task_id:
                    log.warning("%s: its script does not answer the task %r", event.site, task.name)
                    waiting.discard(event.site)
                else:
                    self._take(event.site, event.message, task)
            late = {site: limit for site in sorted(waiting) if (limit := self._exceeded_limit(site, task, started))}
            for site, limit in late.items():
                self._give_up(site, task, limit)
            waiting -= late.keys() | self.failed.keys()

    def dismiss(self) -> None:
        """Tell the sites that there is nothing more to do, and wait until their scripts have ended."""
        for site in self.sites():
            self._pool.send(site, EndRun())
        deadline = monotonic() + _LEAVE_SECONDS
        while any(self._pool.is_alive(site) for site in self._names) and monotonic() < deadline:
            for event in self._pool.wait(_POLL_SECONDS):
                self._note(event.site, event.message)
        for site in self.sites():
            if self._pool.is_alive(site):
                log.warning("%s: its script is still running %.0f s after the last task", site, _LEAVE_SECONDS)
            elif site in self._raised:
                failure = self._raised[site]
                log.warning("%s: its script failed after its last task: %s", site, failure.error)

    def _publish(self, task: Task, sites: list[str]) -> None:
        source = None
        if task.params is not None:
            source = self._workspace.exchange / f"task-{self._task_id}.safetensors"
            hand_over(task.params, source)
        for site in sites:
            if source is not None:
                link_or_copy(source, self._workspace.exchange / site / TASK_FILE)
            message = SendTask(
                task_id=self._task_id,
                name=task.name,
                has_params=source is not None,
                start_round=0,
                current_round=task.current_round,
                total_rounds=task.total_rounds,
                meta=task.meta,
                optional=task.optional,
            )
            self._pool.send(site, message)
        if source is not None:
            source.unlink()

    def _answer(self, site: str, task: Task, message: SendResult) -> Answer | None:
        try:
            params, size = None, 0
            if message.has_params:
                path = self._workspace.exchange / site / RESULT_FILE
                params, size = load_params(path), path.stat().st_size
                # It stays mapped as long as it is needed; with a name it would live longer, and be written to the disk.
                path.unlink()
            model = FLModel(
                params_type=ParamsType(message.params_type) if message.params_type else None,
                params=params,
                metrics=message.metrics,
                current_round=task.current_round,
                total_rounds=task.total_rounds,
                meta=message.meta,
            )
        except (ModelError, OSError, ValueError) as error:
            self.reject(site, error)
            return None
        return Answer(site, model, size)

    def _take(self, site: str, message: object, task: Task) -> None:
        self._note(site, message)
        if isinstance(message, Exited) and site in self._names and site not in self.failed:
            self._fail(site, self._explain(site, message, task))

    def _note(self, site: str, message: object) -> None:
        if isinstance(message, SiteFailed):
            self._raised[site] = message
        elif isinstance(message, SiteLeft):
            self.left[site] = message
        elif isinstance(message, Exited):
            self._host.forwarder.end(site)

    def _explain(self, site: str, exited: Exited, task: Task) -> SiteError:
        log_file = self._workspace.site(site) / "log.txt"
        where = f"its output is in {log_file}"
        if site in self._raised:
            failure = self._raised[site]
            return SiteError(
                site, f"the training script raised {failure.error} in task {task.name!r}", failure.traceback
            )
        if exited.status < 0:
            name = signal.Signals(-exited.status).name
            return SiteError(site, f"the process was killed by {name} in task {task.name!r}; {where}", _tail(log_file))
        if exited.status == 0:
            return SiteError(
                site, f"the training script ended without sending a result for task {task.name!r}; {where}", ""
            )
        return SiteError(site, f"the training script exited with status {exited.status}; {where}", _tail(log_file))

    def _exceeded_limit(self, site: str, task: Task, started: float) -> str:
        """Return which time limit the site has exceeded, or ""."""
        waited = monotonic() - started
        if task.timeout and waited > task.timeout:
            return f"within {task.timeout:g} s ({'its timeout' if task.optional else 'task_timeout'})"
        if waited > self._job.meta.idle_timeout and self._idle_seconds(site) > self._job.meta.idle_timeout:
            return f"and logged nothing for {self._job.meta.idle_timeout:g} s (idle_timeout)"
        return ""

    def _give_up(self, site: str, task: Task, limit: str) -> None:
        about = "" if task.current_round is None else f" of round {task.current_round}"
        error = SiteError(site, f"did not answer the task {task.name!r}{about} {limit}; raise it if it needs longer")
        if task.optional:
            log.warning("%s", error)
            return
        self._pool.kill(site, signal.SIGKILL)
        self._fail(site, error)

    def _idle_seconds(self, site: str) -> float:
        """Return how long ago the site's spool last changed, whether or not its events cross."""
        spool = self._workspace.site(site) / "spool"
        times = [path.stat().st_mtime for path in spool.glob("*.spool")]
        return time() - max(times, default=0.0)

    def _fail(self, site: str, error: SiteError) -> None:
        if site in self.failed:
            return
        self.failed[site] = error
        self.notify("fedtrack_site_failed", site=site, error=str(error))
        left = len(self.sites())
        if site in self._job.meta.mandatory_clients:
            raise JobError(f"{error}. The job needs this site (mandatory_clients).", error.details)
        if left < self._needed:
            raise JobError(
                f"{error}. {left} of {len(self._names)} sites are left, the job needs {self._needed}.", error.details
            )
        log.error("%s; going on with %d sites", error, left)


def _read_rounds(path: Path) -> list[RoundResult]:
    return msgspec.msgpack.decode(path.read_bytes(), type=list[RoundResult]) if path.exists() else []


def _tail(path: Path, lines: int = 30) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
