"""ScriptExchange: tasks and answers between the server and sites with a process each."""

from __future__ import annotations

import contextlib
import logging
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from time import monotonic, time, time_ns

from fedtrack.client import FLModel, ParamsType
from fedtrack.errors import ModelError, SiteError
from fedtrack.runs import Goodbye, Workspace
from fedtrack_local.processes.end import ended, last_words
from fedtrack_local.processes.messages import EndRun, Exited, SendResult, SendTask, SiteFailed, SiteLeft, SkipTask
from fedtrack_local.processes.sites import FromPool, SitePool
from fedtrack_local.roster import Roster
from fedtrack_local.scripts.task_models import TaskModels
from fedtrack_local.workflows.workflow import Answer, Task

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LEAVE_SECONDS = 60.0
#: How long a launcher may take to start the training again. Within it a cluster's shared disk can deliver torch.
_RETURN_SECONDS = 300.0


class ScriptExchange:
    """See ``fedtrack_local.exchange.Exchange``; used by one thread only.

    Args:
        roster: The sites.
        idle_timeout: A site that has neither answered nor logged anything for this many seconds has failed.
        workspace: The workspace of the run.
        pool: The sites' processes, already started.
        on_exit: Called with each site whose process has ended.
    """

    def __init__(
        self,
        roster: Roster,
        idle_timeout: float,
        workspace: Workspace,
        pool: SitePool,
        on_exit: Callable[[str], None],
    ) -> None:
        self.waiting: set[str] = set()
        self._roster = roster
        self._idle_timeout = idle_timeout
        self._workspace = workspace
        self._pool = pool
        self._on_exit = on_exit
        self._left: dict[str, SiteLeft] = {}
        self._raised: dict[str, SiteFailed] = {}
        self._models = TaskModels(workspace, pool, len(roster.names))
        self._exited: dict[str, int] = {}
        self._asked_ns: dict[str, int] = {}
        self._task_id = 0

    def goodbye(self, site: str) -> Goodbye:
        """Return what the process of a site counted; nothing if it was killed, and its spool says it all."""
        left = self._left.get(site)
        # Streams that it does not name are of processes that its script forked, and of those before a resume.
        return Goodbye(left.logged, left.dropped, frozenset(left.streams)) if left else Goodbye()

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site."""
        self._pool.kill(site, signal.SIGTERM)
        self._roster.fail(site, SiteError(site, str(error)))

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer]:
        """Send ``task`` to ``sites`` and yield their answers as they come."""
        self._task_id += 1
        waiting = self.waiting = {site for site in sites if site not in self._roster.failed}
        self._publish(task, sorted(waiting))
        started = monotonic()
        while waiting:
            for event in self._pool.wait(_POLL_SECONDS):
                if isinstance(event.message, SendResult) and event.message.task_id == self._task_id:
                    answer = self._answer(event, task, event.message) if event.site in waiting else None
                    if answer is not None:
                        waiting.discard(event.site)
                        yield answer
                elif isinstance(event.message, SkipTask) and event.message.task_id == self._task_id:
                    log.warning("%s: its script does not answer the task %r", event.site, task.name)
                    waiting.discard(event.site)
                else:
                    self._take(event.site, event.message, task)
                event.drop()
            late = {site: limit for site in sorted(waiting) if (limit := self._exceeded_limit(site, task, started))}
            for site, limit in late.items():
                self._give_up(site, task, limit)
            waiting -= late.keys() | self._roster.failed.keys()

    def dismiss(self) -> None:
        """Tell the sites that there is nothing more to do, and wait until their scripts have ended."""
        for site in self._roster.alive():
            self._pool.send(site, EndRun())
        deadline = monotonic() + _LEAVE_SECONDS
        while any(self._pool.is_alive(site) for site in self._roster.names) and monotonic() < deadline:
            for event in self._pool.wait(_POLL_SECONDS):
                self._note(event.site, event.message)
                event.drop()
        self._models.close()
        for site in self._roster.alive():
            if self._pool.is_alive(site):
                log.warning("%s: its script is still running %.0f s after the last task", site, _LEAVE_SECONDS)
            elif status := self._exited.get(site):
                how = f"raised {self._raised[site].error}" if site in self._raised else ended(status)
                where = self._workspace.site(site) / "log.txt"
                log.warning("%s: its script %s after its last task; its output is in %s", site, how, where)

    def _publish(self, task: Task, sites: list[str]) -> None:
        message = SendTask(
            task_id=self._task_id,
            name=task.name,
            has_params=task.params is not None,
            start_round=task.start_round,
            current_round=task.current_round,
            total_rounds=task.total_rounds,
            meta=task.meta,
            optional=task.optional,
        )
        self._models.publish(task.params, message, sites, lambda site: self._asked_ns.update({site: time_ns()}))

    def _answer(self, event: FromPool, task: Task, message: SendResult) -> Answer | None:
        site, answered_ns = event.site, time_ns()
        try:
            params, size = self._models.take(site, event.file) if message.has_params else (None, 0)
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
        seconds = math.nan if message.seconds is None else message.seconds
        ends = {message.stream: message.last} if message.stream else {}
        return Answer(site, model, size, self._asked_ns[site], answered_ns, seconds, ends)

    def _take(self, site: str, message: object, task: Task) -> None:
        self._note(site, message)
        if isinstance(message, Exited) and site in self._roster.names and site not in self._roster.failed:
            self._roster.fail(site, self._explain(site, message, task))

    def _note(self, site: str, message: object) -> None:
        if isinstance(message, SiteFailed):
            # If several processes of a site fail, the first has the reason, and the others miss it.
            self._raised.setdefault(site, message)
        elif isinstance(message, SiteLeft):
            self._left[site] = _together(self._left.get(site), message)
        elif isinstance(message, Exited):
            self._exited[site] = message.status
            self._on_exit(site)

    def _explain(self, site: str, exited: Exited, task: Task) -> SiteError:
        log_file = self._workspace.site(site) / "log.txt"
        where = f"its output is in {log_file}"
        if site in self._raised:
            failure = self._raised[site]
            text = f"the training script raised {failure.error} in task {task.name!r}; {where}"
            return SiteError(site, text, failure.traceback)
        if exited.status == 0:
            what = f"the training script ended without sending a result for task {task.name!r}"
        else:
            what = f"the {'process' if exited.status < 0 else 'training script'} {ended(exited.status)} "
            what += f"in task {task.name!r}"
        return SiteError(site, f"{what}; {where}", last_words(log_file, exited.status))

    def _exceeded_limit(self, site: str, task: Task, started: float) -> str:
        """Return which time limit the site has exceeded, or ""."""
        waited = monotonic() - started
        if self._pool.seconds_alone(site) > _RETURN_SECONDS:
            return f"and none of its processes has been connected for {_RETURN_SECONDS:g} s"
        if task.timeout and waited > task.timeout:
            return f"within {task.timeout:g} s ({'its timeout' if task.optional else 'task_timeout'})"
        if waited > self._idle_timeout and self._idle_seconds(site) > self._idle_timeout:
            return f"and logged nothing for {self._idle_timeout:g} s (idle_timeout)"
        return ""

    def _give_up(self, site: str, task: Task, limit: str) -> None:
        about = "" if task.current_round is None else f" of round {task.current_round}"
        error = SiteError(site, f"did not answer the task {task.name!r}{about} {limit}; raise the limit if needed")
        if task.optional:
            log.warning("%s", error)
            return
        self._pool.kill(site, signal.SIGKILL)
        self._roster.fail(site, error)

    def _idle_seconds(self, site: str) -> float:
        """Return how many seconds ago the site's spool last changed, whether or not its events go to the server."""
        spool = self._workspace.site(site) / "spool"
        times = []
        for path in spool.glob("*.spool"):
            with contextlib.suppress(OSError):  # delivered and deleted meanwhile
                times.append(path.lstat().st_mtime)
        return time() - max(times, default=0.0)


def _together(earlier: SiteLeft | None, left: SiteLeft) -> SiteLeft:
    """Return what all processes of a site that have left counted."""
    if earlier is None:
        return left
    return SiteLeft(earlier.logged + left.logged, earlier.dropped + left.dropped, [*earlier.streams, *left.streams])
