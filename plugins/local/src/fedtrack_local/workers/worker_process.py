"""The process of a worker: a new child of the fork server that does the tasks of many sites."""

from __future__ import annotations

import sys
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

from fedtrack.client import ClientApp
from fedtrack.client import backend as client_backend
from fedtrack.errors import ConfigError
from fedtrack.spool import SharedSpool, SpoolIdentity
from fedtrack.tracking import bind
from fedtrack_local.processes.failure_report import report_failure
from fedtrack_local.processes.messages import EndRun, SiteLeft, WorkerSpec, decode_to_worker, encode
from fedtrack_local.processes.site_process import lead_own_life, prepare, run_exit_handlers
from fedtrack_local.source_file import forget_main, import_file, search_first
from fedtrack_local.workers.worker import Worker


def become_worker(spec: WorkerSpec, channel: int) -> NoReturn:
    """Turn this process into the worker; never returns."""
    lead_own_life(Path(spec.log), spec.environment, spec.custom, lambda: _run(spec, Connection(channel)))


def _run(spec: WorkerSpec, channel: Connection) -> int:
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


def _serve(worker: Worker, channel: Connection) -> None:
    while True:
        message = decode_to_worker.decode(channel.recv_bytes())
        if isinstance(message, EndRun):
            return
        channel.send_bytes(encode(worker.work(message)))
