"""Shipper: the sites' component of a FLARE job, which sends a site's events to the server.

Its times follow FLARE's events. The executor starts the script inside START_RUN, so everything that the script needs is
ready after ABOUT_TO_START_RUN. The executor ends the script inside END_RUN, before this component's turn, so the spool
then has all of the script's records.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import msgspec
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReservedKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.utils.fl_model_utils import FLModelUtils

from fedtrack.client import backend as client_backend
from fedtrack.errors import TransportError
from fedtrack.job import LoadedJob, LoadedSite, load_job
from fedtrack.policy import RunTerms
from fedtrack.site_environment import keep_only, site_environment
from fedtrack.transport import PAYLOAD, TOPIC, Ack, FromSite, Guard, SpoolShipper, decode_ack, encode
from fedtrack_nvflare.backend import SITE_RUN_VARIABLE, SiteRun, leave_process, read_left
from fedtrack_nvflare.goodbye import goodbye
from fedtrack_nvflare.node import app_job_folder, site_folder

log = logging.getLogger(__name__)

_BACKEND = "fedtrack_nvflare.backend:from_environment"
_SERVER = "server"


class Shipper(Executor):  # type: ignore[misc]  # FLARE ships no types
    """Sends a site's events to the server.

    It is also an executor: FLARE needs one at each site, and a job that only drains has no script.

    Args:
        run_id: fedtrack's id of the run.
        drain: Whether this job runs no script and only sends the remaining events of an earlier one.
        request_timeout: Seconds to wait for the server's answer to one message.
        finish_timeout: Seconds to send the remaining events at the end of the run; later ones stay at the site.
    """

    def __init__(
        self, run_id: str, drain: bool = False, request_timeout: float = 30.0, finish_timeout: float = 60.0
    ) -> None:
        super().__init__()
        self.run_id = run_id
        self.drain = drain
        self.request_timeout = request_timeout
        self.finish_timeout = finish_timeout
        self._engine: Any = None
        self._shipper: SpoolShipper | None = None
        self._folder = Path()
        self._ships = True

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Act on FLARE's events; see the docstring of the module."""
        if event_type == EventType.ABOUT_TO_START_RUN:
            self._prepare(fl_ctx)
        elif event_type == EventType.START_RUN and self._shipper is not None and self._ships:
            self._shipper.start()
        elif event_type == EventType.END_RUN:
            self._finish()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Send everything; only a drain needs it."""
        if not self.drain:
            return make_reply(ReturnCode.TASK_UNKNOWN)
        self._finish()
        # FedAvg ignores a result without parameters.
        return FLModelUtils.to_shareable(FLModel(metrics={"drained": 1.0}))

    def _prepare(self, fl_ctx: FLContext) -> None:
        site = fl_ctx.get_identity_name()
        folder = site_folder(fl_ctx, site, self.run_id)
        spool = folder / "spool"
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._engine = fl_ctx.get_engine()
        if not self.drain:
            job = load_job(app_job_folder(fl_ctx), site)
            wanted = site_of(job, site)
            self._ships = wanted.streams_to_server
            terms = RunTerms.find([site], job=job.meta.policy, workspace=folder).kept(folder)
            guard = Guard.open(site, self.run_id, folder, terms.of(site))
            run = SiteRun(
                site=site,
                run_id=self.run_id,
                spool=str(spool),
                script=str(wanted.script),
                args=wanted.script_args,
                config=job.script_config(wanted, site),
                in_process=not wanted.runner.launch_external_process,
                durability=job.meta.durability,
                spool_limit=job.meta.spool_limit,
                terms=terms.of(site),
            )
            path = folder / "site_run.json"
            path.write_bytes(msgspec.json.encode(run))
            if is_simulated():  # this process has the environment of the server, which runs beside it
                keep_only(site_environment())
            os.environ[SITE_RUN_VARIABLE] = str(path)
            os.environ[client_backend.BACKEND_VARIABLE] = _BACKEND
            client_backend.use(None)
        else:
            terms = RunTerms.find([site], workspace=folder).kept(folder)
            guard = Guard.open(site, self.run_id, folder, terms.of(site))
        # If events stay at the site, the server gets an empty goodbye.
        shipped = spool if self._ships else folder / "nothing"
        self._shipper = SpoolShipper(shipped, self.run_id, self._call, guard=guard)
        self._folder = folder

    def _finish(self) -> None:
        if self._shipper is None:
            return
        shipper, self._shipper = self._shipper, None
        leave_process()
        left = read_left(shipper.folder)
        done = shipper.finish(
            lambda final: goodbye(self.run_id, final, shipper.folder, left, shipper.guard),
            self.finish_timeout,
        )
        if shipper.guard is not None:
            shipper.guard.log.close()  # it stays, for the site's owner
            shutil.rmtree(shipper.folder if done and self._ships else self._folder / "nothing", ignore_errors=True)
        elif done and self._ships:
            shutil.rmtree(self._folder, ignore_errors=True)
        level = logging.INFO if done else logging.WARNING
        log.log(level, "shipped %s: complete=%s, %d retries", self.run_id, done, shipper.retries)

    def _call(self, message: FromSite) -> Ack:
        """Send one message and return the server's own answer.

        Raises:
            TransportError: FLARE did not deliver it, or the server has no such component yet.
        """
        request = Shareable()
        request[PAYLOAD] = encode(message)
        with self._engine.new_context() as fl_ctx:
            self._ignore_end(fl_ctx)
            replies = self._engine.send_aux_request(
                targets=[_SERVER],
                topic=TOPIC,
                request=request,
                timeout=self.request_timeout,
                fl_ctx=fl_ctx,
                optional=True,
            )
        reply = replies.get(_SERVER) if replies else None
        if not isinstance(reply, Shareable):
            raise TransportError("The server did not answer.")
        code = reply.get_return_code()
        data = reply.get(PAYLOAD)
        if code != ReturnCode.OK or not isinstance(data, bytes):
            raise TransportError(f"The server answered {code}.")
        return decode_ack.decode(data)

    def _ignore_end(self, fl_ctx: FLContext) -> None:
        """Let a wait for an answer continue after the end of the run.

        FLARE ends such a wait when the run's abort signal is set. It also sets the signal on every site when the run
        ends normally, exactly when the last events must be acknowledged.
        """
        fl_ctx.remove_prop(ReservedKey.RUN_ABORT_SIGNAL, force_removal=True)


def site_of(job: LoadedJob, site: str) -> LoadedSite:
    """Return the job's settings for ``site``; a job with equal sites runs at sites of any name."""
    return next((item for item in job.sites if item.name == site), job.sites[0])


def is_simulated() -> bool:
    """Return whether this process is a site of FLARE's simulator, and not one that a site's owner has started."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return getattr(spec, "name", "").endswith(".simulator_worker")
