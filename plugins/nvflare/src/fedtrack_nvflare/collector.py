"""Collector: the server's component of a FLARE job, with journal, receivers and model files.

It is also FLARE's model persistor, so that a job needs only this component on the server and one on the sites.
Receivers are found by their plugins' names and never appear in FLARE's configuration.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from time import perf_counter, time_ns
from typing import Any

from nvflare.apis.dxo import MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.app_common.abstract.model import ModelLearnable, ModelLearnableKey, make_model_learnable
from nvflare.app_common.abstract.model_persistor import ModelPersistor
from nvflare.app_common.app_constant import AppConstants
from nvflare.app_common.app_event_type import AppEventType

from fedtrack import RunInfo
from fedtrack.delivery import STALL_SECONDS, ReceiverHost
from fedtrack.job import LoadedJob, load_job
from fedtrack.tracking import SERVER, BlobStore
from fedtrack.transport import Intake, SpoolSource
from fedtrack.view import ViewOptions
from fedtrack_nvflare.ending import keep, read_state, record, remembered_sites, run_end, summarize
from fedtrack_nvflare.identity import listen
from fedtrack_nvflare.node import JOB, RESULTS, app_job_folder, run_folder, server_folder
from fedtrack_nvflare.rounds import Rounds

log = logging.getLogger(__name__)

#: Seconds without progress until a receiver of an aborted run is left behind: FLARE kills the process soon.
_ABORT_STALL_SECONDS = 1.0


class Collector(ModelPersistor):  # type: ignore[misc]  # FLARE ships no types
    """Takes the sites' events, feeds the receivers and keeps the models.

    Args:
        run_id: fedtrack's id of the run.
        drain: Whether this job only collects the remaining events of an earlier one.
    """

    def __init__(self, run_id: str, drain: bool = False) -> None:
        super().__init__()
        self.run_id = run_id
        self.drain = drain
        self._started = perf_counter()
        self._job: LoadedJob | None = None
        self._folder = Path()
        self._error = ""
        self._aborted = False
        self._complete = False

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Take part in the run's life."""
        if event_type == EventType.START_RUN:
            self._open(fl_ctx)
        elif self._job is None:
            return
        elif event_type == EventType.FATAL_SYSTEM_ERROR:
            self._error = str(fl_ctx.get_prop(FLContextKey.EVENT_DATA, "") or "a fatal error of FLARE")
        elif event_type == EventType.ABOUT_TO_END_RUN:
            self._aborted = _is_aborted(fl_ctx)  # now: later the same signal ends the waiting for the last events
        elif event_type == EventType.CHECK_END_RUN_READINESS:
            self._vote(fl_ctx)
        elif event_type == EventType.END_RUN:
            self._close(fl_ctx)
        elif not self.drain:
            self._follow(event_type, fl_ctx)

    def _follow(self, event_type: str, fl_ctx: FLContext) -> None:
        """Follow the events of FLARE's FedAvg."""
        if event_type == AppEventType.ROUND_STARTED:
            self._rounds.begin(_current_round(fl_ctx))
        elif event_type == EventType.BEFORE_TASK_DATA_FILTER:
            peer = fl_ctx.get_peer_context()
            if peer is not None and fl_ctx.get_prop(FLContextKey.TASK_NAME) == AppConstants.TASK_TRAIN:
                self._rounds.ask(peer.get_identity_name())
        elif event_type == AppEventType.AFTER_CONTRIBUTION_ACCEPT:
            peer, answer = fl_ctx.get_peer_context(), fl_ctx.get_prop(AppConstants.TRAINING_RESULT)
            # FLARE 2.9 and later reports what it did with an answer; before, a refused answer is not in the context.
            if peer is not None and answer is not None and fl_ctx.get_prop(AppConstants.AGGREGATION_ACCEPTED, True):
                found = from_shareable(answer)
                metrics, size = found.meta.get(MetaKey.INITIAL_METRICS), _size(found.data)
                self._rounds.accept(peer.get_identity_name(), metrics, found.meta, size)

    def load_model(self, fl_ctx: FLContext) -> ModelLearnable:
        """Return the job's initial model."""
        file = self._job.initial_model if self._job is not None and not self.drain else None
        return make_model_learnable(self._rounds.initial_params(file), {})

    def save_model(self, model: ModelLearnable, fl_ctx: FLContext) -> None:
        """Store the model of a round."""
        if not self.drain:
            self._rounds.save(model[ModelLearnableKey.WEIGHTS], _current_round(fl_ctx))

    def _open(self, fl_ctx: FLContext) -> None:
        engine = fl_ctx.get_engine()
        self._folder = server_folder(fl_ctx, self.run_id)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept = self._folder / JOB
        if not self.drain:
            shutil.copytree(app_job_folder(fl_ctx), kept, dirs_exist_ok=True)
        job = load_job(kept, SERVER)
        self._sites = sorted(str(client.name) for client in engine.get_clients())
        self._before = read_state(self._folder)
        known = record(self._folder, self.run_id, time_ns())
        run = RunInfo(
            run_id=self.run_id,
            job_name=job.meta.name,
            folder=self._folder,
            node=SERVER,
            sites=tuple(self._sites),
            started_ns=known.started_ns,
            blobs=BlobStore(self._folder / "blobs"),
        )
        self._rounds = Rounds(run, job.selector, job.meta)
        self._host = ReceiverHost(run, job.receivers, view=None if self.drain else ViewOptions(job.meta.view))
        self._sites = remembered_sites(self._host.journal, self._sites)
        self._host.add_source(SpoolSource(SERVER, self._rounds.spool.folder, self._host.journal, run.blobs))
        self._intake = Intake(self.run_id, self._host.journal, run.blobs)
        self._host.start()
        self._job = job
        listen(engine, self._answer)
        self._host.notify("fedtrack_job_started")

    def _answer(self, site: str, data: bytes) -> bytes:
        return self._intake.handle(site, data)

    def _vote(self, fl_ctx: FLContext) -> None:
        """Keep the server's run open until every site has said goodbye, as long as FLARE allows it."""
        # After a fatal error the sites are alive and still send; after an admin's abort they are being killed.
        if _is_aborted(fl_ctx) and not self._error:
            return
        # Wait once more when everything is there: a site whose last answer was lost asks again.
        was_complete, self._complete = self._complete, self._intake.is_complete(self._sites)
        if not was_complete:
            fl_ctx.set_prop(FLContextKey.NOT_READY_TO_END_RUN, True, private=True, sticky=False)

    def _close(self, fl_ctx: FLContext) -> None:
        assert self._job is not None  # noqa: S101 - the caller has looked
        status = "failed" if self._error else "aborted" if self._aborted else "completed"
        if self.drain:  # events that arrive later do not change how the run ended
            status = self._before.status if self._before else "aborted"
        self._intake.close()
        self._rounds.spool.close()
        self._host.forwarder.end(SERVER)
        reports = self._host.finish(status, _ABORT_STALL_SECONDS if _is_aborted(fl_ctx) else STALL_SECONDS)
        missing = [site for site in self._sites if not self._intake.has_everything_of(site)]
        result = summarize(
            self._job,
            self._host,
            self._intake,
            self._rounds,
            reports,
            self._sites,
            status,
            self._error,
            self._started,
        )
        self._host.close()
        keep(result, run_end(result, missing), self._folder, run_folder(fl_ctx) / RESULTS)
        self._host.notify("fedtrack_job_ended", status=status)
        log.info("run %s: %s, missing=%s, gaps=%d", self.run_id, status, missing, len(result.gaps))


def _is_aborted(fl_ctx: FLContext) -> bool:
    signal: Any = fl_ctx.get_run_abort_signal()
    return bool(signal is not None and signal.triggered)


def _size(params: object) -> int:
    """Return the bytes of a result's arrays."""
    return sum(int(getattr(array, "nbytes", 0)) for array in params.values()) if isinstance(params, dict) else 0


def _current_round(fl_ctx: FLContext) -> int:
    return int(fl_ctx.get_prop(AppConstants.CURRENT_ROUND) or 0)
