"""ScriptExchange: tasks and answers between the server and sites with a process each."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from time import monotonic, time, time_ns

from fedtrack.client import FLModel, ParamsType
from fedtrack.errors import ModelError, SiteError
from fedtrack.runs import Goodbye, Workspace
from fedtrack_local.models.model_link import hand_over, link_or_copy
from fedtrack_local.models.params import load_params
from fedtrack_local.processes.end import ended, last_words
from fedtrack_local.processes.messages import EndRun, Exited, SendResult, SendTask, SiteFailed, SiteLeft, SkipTask
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.room import when_there_is_room
from fedtrack_local.roster import Roster
from fedtrack_local.scripts.site_backend import RESULT_FILE
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
        self._models: dict[str, dict[int, Path]] = {}
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
            waiting -= late.keys() | self._roster.failed.keys()

    def dismiss(self) -> None:
        """Tell the sites that there is nothing more to do, and wait until their scripts have ended."""
        for site in self._roster.alive():
            self._pool.send(site, EndRun())
        deadline = monotonic() + _LEAVE_SECONDS
        while any(self._pool.is_alive(site) for site in self._roster.names) and monotonic() < deadline:
            for event in self._pool.wait(_POLL_SECONDS):
                self._note(event.site, event.message)
        for site in self._roster.alive():
            if self._pool.is_alive(site):
                log.warning("%s: its script is still running %.0f s after the last task", site, _LEAVE_SECONDS)
            elif status := self._exited.get(site):
                how = f"raised {self._raised[site].error}" if site in self._raised else ended(status)
                where = self._workspace.site(site) / "log.txt"
                log.warning("%s: its script %s after its last task; its output is in %s", site, how, where)

    def _publish(self, task: Task, sites: list[str]) -> None:
        source = None
        if task.params is not None:
            source = self._workspace.exchange / f"task-{self._task_id}.safetensors"
            params = task.params
            when_there_is_room(lambda: hand_over(params, source))
        for site in sites:
            message = SendTask(
                task_id=self._task_id,
                name=task.name,
                has_params=source is not None,
                start_round=task.start_round,
                current_round=task.current_round,
                total_rounds=task.total_rounds,
                meta=task.meta,
                optional=task.optional,
            )
            if source is not None:
                path = self._workspace.exchange / site / message.file
                when_there_is_room(partial(link_or_copy, source, path))
                self._models.setdefault(site, {})[self._task_id] = path
            self._asked_ns[site] = time_ns()
            self._pool.send(site, message)
            self._delete_models(site)
        if source is not None:
            source.unlink()

    def _delete_models(self, site: str) -> None:
        """Delete the models of tasks that no process of the site may still ask for."""
        models = self._models.get(site, {})
        for task_id in [number for number in models if not self._pool.needs(site, number)]:
            models.pop(task_id).unlink(missing_ok=True)

    def _answer(self, site: str, task: Task, message: SendResult) -> Answer | None:
        answered_ns = time_ns()
        try:
            params, size = None, 0
            if message.has_params:
                path = self._workspace.exchange / site / RESULT_FILE
                params, size = load_params(path), path.stat().st_size
                # Deleted while it is mapped: a file that keeps its name would be written to the disk.
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
        times = [path.stat().st_mtime for path in spool.glob("*.spool")]
        return time() - max(times, default=0.0)


def _together(earlier: SiteLeft | None, left: SiteLeft) -> SiteLeft:
    """Return what all processes of a site that have left counted."""
    if earlier is None:
        return left
    return SiteLeft(earlier.logged + left.logged, earlier.dropped + left.dropped, [*earlier.streams, *left.streams])
