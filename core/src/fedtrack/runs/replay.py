"""Replay: delivers the missing events of a finished run to its receivers, or all events to another receiver.

A second replay delivers nothing, unless ``again`` is set, because the ledger has the progress of each receiver. A
receiver that the job does not name gets a cursor of its own, named after its arguments.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from time import time_ns
from typing import Any

import msgspec

from fedtrack.delivery.errands.messages import Replay
from fedtrack.delivery.host import ReceiverHost
from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.ledger import Cursor
from fedtrack.delivery.other_receiver import other_receiver
from fedtrack.delivery.report import ReceiverTally
from fedtrack.errors import FedtrackError
from fedtrack.journal.journal import Journal
from fedtrack.policy.run_terms import load as load_terms
from fedtrack.runs.live_errands import ask, delivers
from fedtrack.runs.live_run import server_of
from fedtrack.runs.result import RunResult
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.worker_folders import worker_folders, worker_source
from fedtrack.runs.workspace import RUN_FOLDER
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver
from fedtrack.transport.guard import Guard
from fedtrack.transport.spool_source import SpoolSource

log = logging.getLogger(__name__)


@dataclass
class Replayed:
    """The result of a replay.

    Attributes:
        journaled: Events in the server's journal, by site.
        receivers: By component id; a site's own under ``<site>/<id>``.
        new: How many events each of them took in this replay.
        gaps: Lost ranges: (site, reason).
        waiting: Why records of a site still wait in its spool, by site.
    """

    journaled: dict[str, int]
    receivers: dict[str, ReceiverTally] = field(default_factory=dict)
    new: dict[str, int] = field(default_factory=dict)
    gaps: list[tuple[str, str]] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether no record waits in a spool, and no event for a receiver."""
        return not self.waiting and not any(receiver.pending for receiver in self.receivers.values())


def replay(
    run: StoredRun, other: tuple[str, Mapping[str, Any]] | None = None, *, again: bool = False, patience: float = 30.0
) -> Replayed:
    """Forward the rest of the spools to the journals, then deliver the events that receivers have not taken.

    In a run that goes on, the process that delivers does that. The counts are then those of the events until now.

    Args:
        run: The run.
        other: Name and arguments of a receiver that gets all events, instead of those that the job names;
            ``${ENV:NAME}`` in an argument stands for an environment variable, as in a job.
        again: Whether to begin at the first event, also with receivers that have had it.
        patience: Seconds without any progress after which a receiver is left behind.

    Raises:
        WorkspaceError: A process without receivers uses the workspace, or the run's job no longer exists.
        FedtrackError: The job or the receiver's arguments are not valid.
    """
    live = _replay_live(run, other, again=again, patience=patience)
    if live is not None:
        return live
    with run.locked():
        run.replace_lost_journal()
        return _replay(run, other, again=again, patience=patience)


def receivers_of(run: StoredRun, other: tuple[str, Mapping[str, Any]] | None = None) -> dict[str, dict[str, Receiver]]:
    """Return the receivers by node and id: those that the job names, or only the other one."""
    if other is not None:
        id_, receiver = other_receiver(*other)
        return {SERVER: {id_: receiver}}
    return run.receivers()


def sites_of(run: StoredRun) -> dict[str, bool]:
    """Return the sites of a run, and whether the events of each go to the server."""
    result = run.result
    known = {name: site.streams_to_server for name, site in result.sites.items()} if result else {}
    try:
        known |= {site.name: site.streams_to_server for site in run.job().sites}
    except FedtrackError:
        log.info("the job of %s cannot be loaded; its summary says which sites it had", run.base)
    # If both are missing, each folder counts as a site whose events go to the server, which is the default.
    return {name: known.get(name, True) for name in run.sites()}


def _replay(run: StoredRun, other: tuple[str, Mapping[str, Any]] | None, *, again: bool, patience: float) -> Replayed:
    receivers = receivers_of(run, other)
    sites = sites_of(run)
    result = run.result
    for node in receivers if again else ():
        with run.stores(node, write=True) as (_, ledger):
            for id_ in receivers[node]:
                ledger.rewind(id_)
    with _hosts(run, receivers, sites) as hosts:
        before: dict[str, Cursor] = {}
        for node, host in hosts.items():
            for id_ in receivers.get(node, {}):
                before[receiver_label(node, id_)] = host.ledger.cursor(id_)
            host.start()
        done = Replayed({})
        for host in hosts.values():
            for report in host.finish(result.status if result else "aborted", patience):
                done.receivers[report.label] = report
                done.new[report.label] = report.delivered - before[report.label].delivered
            done.waiting |= host.forwarder.errors
        done.journaled = hosts[SERVER].journal.counts()
        done.gaps = [(gap.site, gap.reason) for gap in hosts[SERVER].gaps()]
    if result is not None:
        _update(run, result, done, again=again)
    return done


def _replay_live(
    run: StoredRun, other: tuple[str, Mapping[str, Any]] | None, *, again: bool, patience: float
) -> Replayed | None:
    """Let the processes of a run that goes on deliver; return None if it does not go on."""
    if server_of(run.folder) is None or (run.record is not None and not run.record.job and not run.is_collected):
        return None
    errand = Replay(None if other is None else (other[0], dict(other[1])), again, patience)
    # A site's process delivers as long as the site trains. What is left then waits for the end of the run.
    sites = [node for node in run.journaling_nodes() if node != SERVER and other is None and delivers(run, node)]
    done = Replayed({})
    for node in [SERVER, *sites]:
        answer = ask(run, node, errand)
        if answer is None:
            return None
        if node == SERVER:
            done.journaled, done.gaps = answer.journaled, answer.gaps
        for report in answer.reports:
            done.receivers[report.label] = report
            done.new[report.label] = answer.new[report.id]
    return done


@contextmanager
def _hosts(
    run: StoredRun, receivers: Mapping[str, Mapping[str, Receiver]], sites: Mapping[str, bool]
) -> Iterator[dict[str, ReceiverHost]]:
    """Yield a host for every node that has receivers, the server's last, with all spools attached."""
    names = tuple(sites)
    hosts: dict[str, ReceiverHost] = {}
    homes: dict[str, Journal] = {}
    try:
        for node in [*(name for name in receivers if name != SERVER), SERVER]:
            info = run.info(node, names if node == SERVER else (node,))
            hosts[node] = host = ReceiverHost(info, receivers.get(node, {}))
            host.journal.check()  # what is intact is delivered
            if node != SERVER:
                host.add_source(
                    SpoolSource(node, run.node(node) / "spool", host.journal, info.blobs, delete=not sites[node])
                )
        server = hosts[SERVER]
        terms, run_id = load_terms(run.node(SERVER)), server.run.run_id
        guards = cache(lambda name: Guard.open(name, run_id, run.node(name), terms.of(name)))
        for name, crosses in {SERVER: True, **sites}.items():
            if crosses:
                home = run.node(name) / "journal.db"
                if name != SERVER and home.exists():
                    homes[name] = hosts[name].journal if name in hosts else Journal(home, read_only=True)
                spool = run.node(name) / "spool"
                guard = None if name == SERVER else guards(name)
                server.add_source(
                    SpoolSource(name, spool, server.journal, server.run.blobs, other=homes.get(name), guard=guard)
                )
        for folder in worker_folders(run.workers):
            server.add_source(worker_source(folder, server.journal, server.run.blobs, names, guards))
        for host in hosts.values():
            host.forwarder.end_all()
        yield hosts
    finally:
        for journal in homes.values():
            journal.close()
        for host in hosts.values():
            host.close()


def _update(run: StoredRun, result: RunResult, done: Replayed, *, again: bool) -> None:
    """Write the run's summary again, so that it is up to date."""
    for id_, summary in done.receivers.items():
        old = result.receivers.get(id_)
        if old is not None and not again and not summary.location:
            summary = msgspec.structs.replace(summary, location=old.location, command=old.command)
        result.receivers[id_] = summary
    found = tally_of(run, result)
    result.sites = found.sites
    result.receivers = {label: found.receivers[label] for label in result.receivers}
    result.gaps, result.waiting, result.counted_ns = found.gaps, done.waiting, time_ns()
    msgspec.structs.replace(result, workspace=run.base, folder=run.kept / SERVER / RUN_FOLDER).save()
