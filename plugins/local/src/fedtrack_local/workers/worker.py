"""Worker: it does a task for one site after the other, and averages the results."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from fedtrack.client import ClientApp, FLModel, ParamsType, SiteContext
from fedtrack.errors import ConfigError, ModelError
from fedtrack.failure import shortened
from fedtrack.files import read_plain
from fedtrack.policy import Gate
from fedtrack.spool import SharedSpool
from fedtrack_local.averaging.aggregator import weight_of
from fedtrack_local.averaging.aggregators import Aggregator, make_aggregator
from fedtrack_local.averaging.result_limits import ResultLimits
from fedtrack_local.models.arrays import as_arrays
from fedtrack_local.models.handed_model import path_of
from fedtrack_local.models.mapped_model import MappedModel
from fedtrack_local.processes.failure_report import hushed, in_script
from fedtrack_local.processes.messages import MAX_MESSAGE, RunSites, SiteFailed, SiteResult, SitesDone, WorkerSpec
from fedtrack_local.scripts.site_backend import plain_meta, plain_metrics
from fedtrack_local.workers.site_states import SiteStates
from fedtrack_local.workflows.workflow import TRAIN

#: The most bytes that a site may send besides parameters, so that the answer of a group fits into one message.
_MAX_RESULT = MAX_MESSAGE // 128

#: The most characters of the traceback that the server shows; the log has all of it.
_MOST_TRACEBACK = 3000


class Position:
    """The site of its group that a worker is working for. The server reads it if the worker has died or is late.

    Args:
        path: The file that holds it; created or overwritten.
    """

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            # A single store of a machine word: with struct.pack_into another process could read a zero in between.
            self._word = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")

    def set(self, number: int) -> None:
        """Store the number of the site in its group, counted from 1; 0 stands for none."""
        self._word[0] = number


def read_position(path: Path) -> int:
    """Return the number that a worker has stored last; 0 if there is none."""
    try:
        return int.from_bytes(read_plain(path, 8), sys.byteorder)
    except OSError:
        return 0


class Worker:
    """Does tasks for many sites; it is also the backend of the client API while a function runs.

    Args:
        spec: The worker's start parameters.
        app: The functions.
        spool: The spool for the records of all sites.

    Attributes:
        average: The descriptor of the last task's average, for who sends it; None if it is in the task's file.
    """

    def __init__(self, spec: WorkerSpec, app: ClientApp, spool: SharedSpool) -> None:
        self.job_id = spec.run_id
        self.task_name = ""
        self._site_index = 0
        self._spec = spec
        self._app = app
        self._spool = spool
        self._states = SiteStates(Path(spec.states))
        self._position = Position(Path(spec.position))
        self._model: MappedModel | None = None
        self._model_path = ""
        self._accepted = 0
        self.average: int | None = None
        self._gates: dict[str, Gate | None] = {}

    def _gate(self, site: str) -> Gate | None:
        """Return the gate of a site's models, the same one each time."""
        if self._spec.terms and site not in self._gates:
            self._gates[site] = self._spec.terms.gate(site)
        return self._gates.get(site)

    @property
    def site_name(self) -> str:
        """Name of the site that the calling code works for."""
        return self._spool.site

    @property
    def config(self) -> dict[str, Any]:
        """The job's settings of this site's executor."""
        return {
            "site_name": self.site_name,
            "site_index": self._site_index,
            "n_sites": self._spec.total_sites,
            "script": Path(self._spec.script).name,
            "args": dict(self._spec.args),
        }

    def is_running(self) -> bool:
        """Refuse: the functions of a ClientApp are called with each task."""
        raise _not_here("is_running")

    def receive(self, timeout: float | None = None) -> FLModel | None:
        """Refuse: the functions of a ClientApp are called with each model."""
        raise _not_here("receive")

    def send(self, model: FLModel) -> None:
        """Refuse: the functions of a ClientApp return their results."""
        raise _not_here("send")

    def shutdown(self) -> None:
        """Refuse: the functions of a ClientApp end when they return."""
        raise _not_here("shutdown")

    def work(self, message: RunSites, file: int | None = None) -> SitesDone:
        """Do a task for a group of sites. A site whose function raises has failed; the others go on.

        Args:
            message: The task.
            file: The descriptor of the model's file, if it came with the message; it stays open.
        """
        model = self._mapped(message.model, file) if message.model else None
        aggregator = None
        if model is not None and message.name == TRAIN:
            aggregator = make_aggregator(message.aggregator, model.arrays, message.needed)
        self._accepted = 0
        results: list[SiteResult] = []
        seconds: dict[str, float] = {}
        for number, (site, index) in enumerate(message.sites, start=1):
            self._position.set(number)
            since = monotonic()
            results.append(self._answer(message, model, aggregator, site, index))
            seconds[site] = monotonic() - since
        self._position.set(0)
        logged = dict.fromkeys((site for site, _ in message.sites), 0) | self._spool.take_counts()
        averaged = self._accepted > 0
        if aggregator is not None and averaged:
            average = aggregator.partial()
            self.average = average.seal(self._spec.memory)
            if self.average is None:
                average.save(Path(message.partial))
        return SitesDone(message.task_id, message.group, results, averaged, logged, *self._spool.position, seconds)

    def close(self) -> None:
        """Release the last model."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def _mapped(self, path: str, file: int | None) -> MappedModel:
        if self._model is None or self._model_path != path:
            self.close()
            source = Path(path) if file is None else path_of(file)
            self._model, self._model_path = MappedModel(source, self._spec.framework), path
        return self._model

    def _answer(
        self, message: RunSites, model: MappedModel | None, aggregator: Aggregator | None, site: str, index: int
    ) -> SiteResult:
        self._site_index, self.task_name = index, message.name
        self._spool.enter(site, message.current_round)
        try:
            return self._do(message, model, aggregator, site, index)
        except (Exception, SystemExit) as error:  # a script's sys.exit ends its own site, not the other sites
            failure = in_script(error, self._spec.custom)
            print(f"{site}: {failure.text}", file=sys.stderr, end="", flush=True)
            failed = SiteFailed(str(failure), shortened(failure.text, _MOST_TRACEBACK))
            if self._spec.terms.of(site) is not None:
                failed = hushed(failed)
            return SiteResult(site, error=failed.error, traceback=failed.traceback)

    def _do(
        self, message: RunSites, model: MappedModel | None, aggregator: Aggregator | None, site: str, index: int
    ) -> SiteResult:
        task = f"{message.name}/{message.current_round}"
        context = SiteContext(site, index, self._spec.total_sites, self._spec.args, self._states.load(site, task))
        received = FLModel(
            params=model.fresh() if model is not None else None,
            start_round=message.start_round,
            current_round=message.current_round,
            total_rounds=message.total_rounds,
            meta=dict(message.meta),
        )
        answer = self._app.answer(message.name, received, context)
        result = _result(site, answer, self._gate(site), message.current_round)
        if aggregator is not None:
            if answer.params is None:
                raise ModelError("the result of a train task has no params; return FLModel(params=...)")
            kind = answer.params_type or ParamsType.FULL
            limits = ResultLimits(message.max_weight, message.max_norm)
            reference = model.arrays if model is not None else {}
            params, kind = limits.apply(site, as_arrays(answer.params), kind, reference)
            aggregator.accept(site, params, kind, limits.weight(weight_of(answer.meta)))
            self._accepted += 1
        self._states.save(site, task, context.state)
        return result


def _result(site: str, answer: FLModel, gate: Gate | None, round: int | None) -> SiteResult:
    metrics, meta = plain_metrics(answer.metrics), plain_meta(answer.meta)
    if gate is not None:
        metrics, meta = gate.released_model(metrics, meta, round)
    result = SiteResult(site, metrics, meta)
    try:
        size = len(msgspec.msgpack.encode(result))
    except (TypeError, msgspec.MsgspecError, OverflowError) as error:
        raise ConfigError(f"FLModel.meta cannot be sent: {error}; use numbers, strings, lists and dicts.") from None
    if size > _MAX_RESULT:
        raise ConfigError(
            f"FLModel.meta and metrics take {size:,} bytes; with ClientAppRunner a site can send {_MAX_RESULT:,}."
        )
    return result


def _not_here(name: str) -> ConfigError:
    return ConfigError(
        f"{name}() was called in a ClientApp, whose functions are given each task's model and return the result."
    )
