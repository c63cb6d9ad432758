"""WorkerExchange: tasks and answers between the server and the workers."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time_ns

from fedtrack.client import FLModel
from fedtrack.errors import JobError, ModelError, SiteError
from fedtrack.files import open_plain
from fedtrack.runs import Goodbye, Workspace
from fedtrack_local.averaging.partial_average import PartialAverage
from fedtrack_local.models.handed_model import seal, take
from fedtrack_local.models.model_link import hand_over
from fedtrack_local.models.model_memory import memory_limit
from fedtrack_local.processes.end import ended, last_words
from fedtrack_local.processes.messages import EndRun, Exited, RunSites, SiteFailed, SiteLeft, SitesDone, WorkerSpec
from fedtrack_local.processes.sites import FromPool, SitePool
from fedtrack_local.room import when_there_is_room
from fedtrack_local.roster import Roster
from fedtrack_local.workers.groups import Group, groups_of
from fedtrack_local.workers.worker import read_position
from fedtrack_local.workflows.workflow import GroupAnswer, Task

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LEAVE_SECONDS = 60.0

#: A site has failed when this many workers have died while they were working for it.
_ATTEMPTS = 2

#: The job has failed when this many workers in succession have died while they were working for no site.
_IDLE_DEATHS = 5


@dataclass
class _Worker:
    """A worker's process.

    Attributes:
        spec: Its start parameters.
        group: The group that it is working for, or None.
        position: The number of the site in the group that it has stored last.
        since: When that number was first seen, by the monotonic clock.
        asked_ns: When it was given the group, in nanoseconds since the epoch.
    """

    spec: WorkerSpec
    group: Group | None = None
    position: int = 0
    since: float = 0.0
    asked_ns: int = 0


@dataclass
class _Model:
    """The model of a task.

    Attributes:
        path: Its name, and its file if it is too large for the memory.
        file: The descriptor of the sealed file in memory that holds it, or None.
    """

    path: Path
    file: int | None

    def close(self) -> None:
        """Delete it."""
        if self.file is None:
            self.path.unlink(missing_ok=True)
        else:
            os.close(self.file)


class WorkerExchange:
    """See ``fedtrack_local.exchange.Exchange``; used by one thread only.

    The groups depend on the task's sites alone, so that the average has the same bits with any number of workers. A
    worker that dies is replaced, and its group is done again. A site at which two workers have died is left out.

    Args:
        roster: The sites.
        idle_timeout: Seconds that a worker may take for one site.
        workspace: The workspace of the run.
        pool: Starts the processes.
        spec_of: Returns the start parameters of the next worker.
        on_start: Called with each worker's spec before it is started.
        on_exit: Called with the name of each worker whose process has ended.
        workers: How many workers run at a time.
    """

    def __init__(
        self,
        roster: Roster,
        idle_timeout: float,
        workspace: Workspace,
        pool: SitePool,
        spec_of: Callable[[], WorkerSpec],
        on_start: Callable[[WorkerSpec], None],
        on_exit: Callable[[str], None],
        workers: int,
    ) -> None:
        self.waiting: set[str] = set()
        self._roster = roster
        self._idle_timeout = idle_timeout
        self._workspace = workspace
        self._pool = pool
        self._spec_of = spec_of
        self._on_start = on_start
        self._on_exit = on_exit
        self._indices = {site: index for index, site in enumerate(roster.names)}
        self._workers: dict[str, _Worker] = {}
        self._deaths: Counter[str] = Counter()
        self._late: dict[str, float] = {}
        self._raised: dict[str, SiteFailed] = {}
        self._task_id = 0
        #: By worker, what it has counted for each site; and what it said of itself, once it has left in order.
        self._logged: dict[str, Counter[str]] = {}
        self._left: dict[str, SiteLeft] = {}
        self._idle_deaths = 0
        for _ in range(workers):
            self._start()

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[GroupAnswer]:
        """Send ``task`` to ``sites`` and yield their answers, group by group, as they come."""
        self._task_id += 1
        asked = [site for site in sites if site not in self._roster.failed]
        todo = deque(groups_of(asked))
        open_groups = len(todo)
        self.waiting = set(asked)
        model = self._publish(task)
        try:
            while open_groups:
                for worker in self._workers.values():
                    if worker.group is None and todo:
                        self._give(worker, todo.popleft(), task, model)
                for event in self._pool.wait(_POLL_SECONDS):
                    answer = self._take(event, task, todo)
                    event.drop()
                    if answer is not None:
                        open_groups -= 1
                        self.waiting.difference_update(answer.sites)
                        yield answer
                self._end_late(task)
        finally:
            if model is not None:
                model.close()

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site."""
        self._roster.fail(site, SiteError(site, str(error)))

    def dismiss(self) -> None:
        """Tell the workers that there is no further task, and wait until they have ended."""
        for name in self._workers:
            self._pool.send(name, EndRun())
        deadline = monotonic() + _LEAVE_SECONDS
        while any(self._pool.is_alive(name) for name in self._workers) and monotonic() < deadline:
            for event in self._pool.wait(_POLL_SECONDS):
                if isinstance(event.message, SiteLeft):
                    self._left[event.site] = event.message
                    self._logged.setdefault(event.site, Counter()).update(event.message.late)
                elif isinstance(event.message, Exited):
                    self._on_exit(event.site)
                event.drop()

    def goodbye(self, site: str) -> Goodbye | None:
        """Return what the workers counted for a site; None if one of them dropped calls, and knows not whose."""
        if any(left.dropped for left in self._left.values()):
            return None
        # Of a worker that did not leave in order, its spool says how much of the site's calls had returned.
        counted = frozenset(stream for left in self._left.values() for stream in left.streams)
        return Goodbye(sum(self._logged[name][site] for name in self._left if name in self._logged), 0, counted)

    def _start(self) -> None:
        spec = self._spec_of()
        self._on_start(spec)
        self._pool.start(spec)
        self._workers[spec.name] = _Worker(spec)

    def _publish(self, task: Task) -> _Model | None:
        if task.params is None:
            return None
        path = self._workspace.exchange / f"task-{self._task_id}.safetensors"
        params = task.params
        file = seal(params, memory_limit())
        if file is None:
            when_there_is_room(lambda: hand_over(params, path))
        return _Model(path, file)

    def _give(self, worker: _Worker, group: Group, task: Task, model: _Model | None) -> None:
        worker.group, worker.position, worker.since = group, 0, monotonic()
        worker.asked_ns = time_ns()
        message = RunSites(
            self._task_id,
            group.number,
            task.name,
            str(model.path) if model is not None else "",
            str(self._partial(group)),
            [(site, self._indices[site]) for site in group.left],
            task.current_round,
            task.total_rounds,
            task.meta,
            task.aggregator,
            task.start_round,
            task.needed,
            task.max_weight,
            task.max_norm,
        )
        self._pool.send(worker.spec.name, message, None if model is None else model.file)

    def _take(self, event: FromPool, task: Task, todo: deque[Group]) -> GroupAnswer | None:
        worker = self._workers.get(event.site)
        if worker is None:
            return None
        if isinstance(event.message, SiteFailed):
            self._raised[event.site] = event.message
        elif isinstance(event.message, Exited):
            return self._bury(worker, event.message, task, todo)
        elif isinstance(event.message, SitesDone) and worker.group is not None and self._is_due(event.message, worker):
            group, worker.group = worker.group, None
            self._idle_deaths = 0
            self._logged.setdefault(event.site, Counter()).update(event.message.logged)
            return self._answer(group, event.message, event.file, task, worker)
        return None

    def _answer(self, group: Group, message: SitesDone, file: int | None, task: Task, worker: _Worker) -> GroupAnswer:
        answered_ns, spec = time_ns(), worker.spec
        partial, size = None, 0
        if message.averaged:
            try:
                partial, size = self._average(group, file, spec.memory)
            except (ModelError, OSError) as error:
                for site in group.left:
                    text = f"the average of its group of {len(group.left)} sites cannot be used: {error}"
                    self._roster.fail(site, SiteError(site, f"{text}; its output is in {spec.log}"))
                return GroupAnswer(group.sites, {}, None, 0)
        models: dict[str, FLModel] = {}
        for result in message.results:
            if result.site not in group.left:
                continue
            if result.error:
                text = f"the ClientApp raised {result.error} in task {task.name!r}; its output is in {spec.log}"
                self._roster.fail(result.site, SiteError(result.site, text, result.traceback))
            else:
                models[result.site] = FLModel(
                    metrics=result.metrics,
                    current_round=task.current_round,
                    total_rounds=task.total_rounds,
                    meta=result.meta,
                )
        return GroupAnswer(
            group.sites,
            models,
            partial,
            size,
            worker.asked_ns,
            answered_ns,
            message.seconds,
            {message.stream: message.last} if message.stream else {},
        )

    def _is_due(self, message: SitesDone, worker: _Worker) -> bool:
        """Return whether the answer is that to the worker's task."""
        return (message.task_id, message.group) == (self._task_id, worker.group.number if worker.group else -1)

    def _average(self, group: Group, file: int | None, memory: int) -> tuple[PartialAverage, int]:
        path = self._partial(group)
        with contextlib.ExitStack() as stack:
            if file is None:
                file = stack.enter_context(open_plain(path)).fileno()
                stack.callback(path.unlink)
            arrays, metadata, size = take(file, self._workspace.exchange, memory, name=path.name)
            return PartialAverage.of(arrays, metadata, path.name), size

    def _bury(self, worker: _Worker, exited: Exited, task: Task, todo: deque[Group]) -> GroupAnswer | None:
        """Replace a worker that died, and decide what happens to the group that it was working for."""
        name = worker.spec.name
        del self._workers[name]
        self._on_exit(name)
        reason, details = self._why(worker, exited)
        group, number = worker.group, read_position(Path(worker.spec.position))
        if group is None or not 0 < number <= len(group.left):
            self._idle_deaths += 1
            if name in self._raised or self._idle_deaths >= _IDLE_DEATHS:
                raise JobError(reason, details)
            log.warning("%s It was working for no site; another worker takes its place.", reason)
            self._start()
            if group is not None:
                todo.appendleft(group)
            return None
        self._start()
        site = group.left[number - 1]
        self._deaths[site] += 1
        log.warning("%s It was working for %s in task %r; its group of sites begins again.", reason, site, task.name)
        if site in self._late or self._deaths[site] >= _ATTEMPTS:
            group.left.remove(site)
            if site in self._late:
                text = f"did not answer the task {task.name!r} within {self._late[site]:g} s; raise the limit if needed"
            else:
                text = f"{self._deaths[site]} workers died while working for it in task {task.name!r}. "
                text += reason.rstrip(".")
            self._roster.fail(site, SiteError(site, text, details))
        if group.left:
            todo.appendleft(group)
            return None
        return GroupAnswer(group.sites, {}, None, 0)

    def _why(self, worker: _Worker, exited: Exited) -> tuple[str, str]:
        name = worker.spec.name
        if name in self._raised:
            failure = self._raised[name]
            return f"The process {name} raised {failure.error}; its output is in {worker.spec.log}.", failure.traceback
        log_file = Path(worker.spec.log)
        return f"The process {name} {ended(exited.status)}; its output is in {log_file}.", last_words(
            log_file, exited.status
        )

    def _end_late(self, task: Task) -> None:
        """Kill workers that take too long for one site; the site's fate is decided when they have ended."""
        now = monotonic()
        limit = task.timeout or self._idle_timeout
        for worker in self._workers.values():
            if worker.group is None:
                continue
            position = read_position(Path(worker.spec.position))
            if position != worker.position:
                worker.position, worker.since = position, now
            elif now - worker.since > limit:
                if position:
                    self._late[worker.group.left[position - 1]] = limit
                self._pool.kill(worker.spec.name)
                worker.since = now

    def _partial(self, group: Group) -> Path:
        return self._workspace.exchange / f"partial-{self._task_id}-{group.number}.safetensors"


def worker_count(wanted: int | None, sites: int) -> int:
    """Return how many workers to start: ``wanted``, or one per processor core, but not more than there are sites."""
    return min(wanted or len(os.sched_getaffinity(0)), sites)
