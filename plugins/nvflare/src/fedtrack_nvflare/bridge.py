"""ReceiverBridge: any fedtrack receiver as a component of FLARE's own jobs.

It takes the events of FLARE's own writers. FLARE sends them without acknowledgement, and drops those that are under way
when the run ends. An event that reaches this component is on the disk when its handler returns, and is delivered from
there. So a slow backend does not increase FLARE's losses.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import time_ns
from typing import Any
from uuid import uuid4

import msgspec
from nvflare.apis.analytix import AnalyticsData, AnalyticsDataType
from nvflare.apis.dxo import from_shareable
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.app_common.widgets.streaming import AnalyticsReceiver

from fedtrack import RunInfo, Writer
from fedtrack.delivery import STALL_SECONDS, ReceiverHost
from fedtrack.files import write_whole
from fedtrack.job import OperatorRules, built_receiver, refuse_secrets
from fedtrack.runs import NamedReceiver, RunRecord, keep_receivers, spool_home
from fedtrack.spool import Spool, SpoolIdentity
from fedtrack.tracking import FED_EVENT, SERVER, BlobStore
from fedtrack.transport import SpoolSource
from fedtrack_nvflare.node import run_folder


class ReceiverBridge(AnalyticsReceiver):  # type: ignore[misc]  # FLARE ships no types
    """Feeds a fedtrack receiver with FLARE's ``fed.analytix_log_stats`` events; a component for the server.

    Args:
        receiver: Name of an installed receiver, such as ``mlflow``; see ``fedtrack receivers list``.
        args: The receiver's arguments; ``${ENV:NAME}`` is taken from the server's environment.
        events: FLARE's events to listen to; None means the federated ones.
    """

    def __init__(self, receiver: str, args: Mapping[str, Any] | None = None, events: list[str] | None = None) -> None:
        super().__init__(events=events or [FED_EVENT])
        # FLARE's job export reads attributes with the names of the arguments; it does not find one called ``args``.
        self.receiver = receiver
        self._args = dict(args or {})
        refuse_secrets(self._args, f"ReceiverBridge({receiver})")
        self._writers: dict[str, Writer] = {}
        self._spools: dict[str, Spool] = {}

    def initialize(self, fl_ctx: FLContext) -> None:
        """Open the receiver, in the background: a backend that cannot be reached does not stop the job."""
        where = f"ReceiverBridge({self.receiver})"
        found = built_receiver(self.receiver, self._args, where, OperatorRules.of_this_node())
        self._folder = run_folder(fl_ctx) / f"fedtrack-{self.receiver}"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        record = RunRecord(uuid4().hex, "", time_ns(), engine="nvflare")
        # Both before the first event: a replay then delivers what a kill of this process leaves.
        keep_receivers(self._folder, {"receiver": NamedReceiver(self.receiver, self._args)})
        write_whole(self._folder / "run.json", msgspec.json.encode(record))
        run = RunInfo(
            run_id=record.run_id,
            job_name=str(fl_ctx.get_job_id()),
            folder=self._folder,
            node=SERVER,
            sites=tuple(str(client.name) for client in fl_ctx.get_engine().get_clients()),
            started_ns=record.started_ns,
            blobs=BlobStore(self._folder / "blobs"),
        )
        self._host = ReceiverHost(run, {"receiver": found})
        self._host.start()

    def save(self, fl_ctx: FLContext, shareable: Shareable, record_origin: str) -> None:
        """Store one event on the disk; never waits for the backend."""
        data = AnalyticsData.from_dxo(from_shareable(shareable))
        if data is not None:
            record(self._writer(record_origin), data)

    def finalize(self, fl_ctx: FLContext) -> None:
        """Deliver the events that have arrived and close the receiver."""
        for site, spool in self._spools.items():
            spool.close()
            self._host.forwarder.end(site)
        for report in self._host.finish("completed", STALL_SECONDS):
            self.log_info(
                fl_ctx,
                f"{report.receiver}: {report.delivered} events delivered, {report.pending} pending, "
                f"{sum(report.skipped.values())} of kinds it cannot hold. {report.error}",
            )
        self._host.close()

    def _writer(self, site: str) -> Writer:
        if site not in self._writers:
            # A stream per site: FLARE's events have no numbers, so they get numbers here.
            identity = SpoolIdentity(self._host.run.run_id, site)
            spool = Spool(spool_home(self._folder, site) / "spool", identity=identity)
            self._host.add_source(SpoolSource(site, spool.folder, self._host.journal, self._host.run.blobs))
            self._spools[site], self._writers[site] = spool, Writer(spool)
        return self._writers[site]


def record(writer: Writer, data: AnalyticsData) -> None:
    """Log one of FLARE's analytics values as records."""
    kind, key, value, step = data.data_type, data.tag, data.value, data.step
    if kind in (AnalyticsDataType.SCALAR, AnalyticsDataType.METRIC):
        writer.record_metric(key, value, step)
    elif kind is AnalyticsDataType.SCALARS:
        # Like TensorBoard's add_scalars: one series per name, below the tag.
        writer.record_metrics({f"{key}/{name}": item for name, item in value.items()}, step)
    elif kind is AnalyticsDataType.METRICS:
        writer.record_metrics(value, step)
    elif kind is AnalyticsDataType.PARAMETER:
        writer.record_param(key, value)
    elif kind is AnalyticsDataType.PARAMETERS:
        for name, item in value.items():
            writer.record_param(name, item)
    elif kind is AnalyticsDataType.TEXT:
        writer.record_text(data.path or key, value, step)
    elif kind is AnalyticsDataType.TAG:
        writer.record_tag(key, value)
    elif kind is AnalyticsDataType.TAGS:
        for name, item in value.items():
            writer.record_tag(name, item)
    else:
        writer.record_rejected(key, TypeError(f"FLARE's {kind.name} has no kind of record"))
