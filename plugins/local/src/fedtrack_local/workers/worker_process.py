"""The process of a worker: a new child of the fork server that does the tasks of many sites."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from fedtrack.client import ClientApp
from fedtrack.client import backend as client_backend
from fedtrack.errors import ConfigError
from fedtrack.spool import SharedSpool, SpoolIdentity
from fedtrack.tracking import bind
from fedtrack_local.processes.failure_report import report_failure
from fedtrack_local.processes.messages import EndRun, SiteLeft, WorkerSpec, decode_to_worker, encode
from fedtrack_local.processes.parcels import Parcel, ParcelConnection
from fedtrack_local.processes.site_process import lead_own_life, prepare, run_exit_handlers
from fedtrack_local.source_file import forget_main, import_file, search_first
from fedtrack_local.workers.worker import Worker

#: The server is trusted with the length of its messages.
_MOST_BYTES = 2**31 - 1


def become_worker(spec: WorkerSpec, channel: int) -> NoReturn:
    """Turn this process into the worker; never returns."""
    lead_own_life(Path(spec.log), spec.environment, spec.custom, lambda: _run(spec, _connection(channel)))


def _connection(channel: int) -> ParcelConnection:
    return ParcelConnection(socket.socket(fileno=channel))


def _run(spec: WorkerSpec, channel: ParcelConnection) -> int:
    prepare(spec.threads)
    forget_main()
    spool = SharedSpool(
        Path(spec.spool),
        durability=spec.durability,
        limit_bytes=spec.spool_limit,
        identity=SpoolIdentity(spec.run_id, spec.name),
        gates=spec.terms.gate if spec.terms else None,
    )
    bind(spool)
    spool.follow_threads()
    try:
        worker = Worker(spec, _load(spec), spool)
        client_backend.use(worker)
        with closing(worker):
            _serve(worker, channel)
    except BaseException as error:
        report_failure(channel, error, spec.custom, hush=bool(spec.terms))
        return 1
    run_exit_handlers()
    spool.close()
    channel.send_bytes(encode(SiteLeft(spool.stored, spool.dropped, spool.streams, spool.take_counts())))
    return 0


def _load(spec: WorkerSpec) -> ClientApp:
    sys.argv = [spec.script]
    search_first(Path(spec.custom))
    app = getattr(import_file(Path(spec.script)), spec.app, None)
    if not isinstance(app, ClientApp):
        found = "has no such name" if app is None else f"is a {type(app).__name__}"
        raise ConfigError(f"{Path(spec.script).name}: {spec.app!r} {found}; it must be a fedtrack.client.ClientApp.")
    return app


def _serve(worker: Worker, channel: ParcelConnection) -> None:
    while True:
        parcel = channel.take(_MOST_BYTES)
        assert parcel is not None  # noqa: S101 - narrows the type; it has waited
        message = decode_to_worker.decode(parcel.data)
        if isinstance(message, EndRun):
            return
        done = worker.work(message, parcel.file)
        parcel.drop()
        answer = Parcel(encode(done), worker.average)
        worker.average = None
        channel.send_bytes(*answer)
        answer.drop()
