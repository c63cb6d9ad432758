"""Course: the steps of a run: its workflows, then the rest of the delivery, then its summary."""

from __future__ import annotations

import math
import traceback

from fedtrack import RunResult
from fedtrack.delivery import STALL_SECONDS
from fedtrack.errors import FedtrackError, JobError, WorkspaceError
from fedtrack.job import executable
from fedtrack_local.active_run import ActiveRun
from fedtrack_local.exchange import Exchange, FailedExchange
from fedtrack_local.scripts.script_exchange import ScriptExchange
from fedtrack_local.server import LocalServer
from fedtrack_local.starting import start_sites, start_workers
from fedtrack_local.summary import Outcome, summarize

#: A user who pressed Ctrl-C waits for seconds, and not for a backend; the journal keeps the rest. Receivers that work
#: get what is there in this time.
INTERRUPTED_STALL_SECONDS, INTERRUPTED_SECONDS = 1.0, 2.5


def play(run: ActiveRun) -> RunResult:
    """Start the sites, run the workflows, deliver the rest of the events, and show and return the result.

    Raises:
        JobError: The run failed; its summary is nevertheless written.
        KeyboardInterrupt: The user ended the run; its summary is nevertheless written.
    """
    # Imported here: it takes 50 ms, during which the fork server is starting already.
    from fedtrack_local.live_state import LiveState
    from fedtrack_local.presentation import show_end, shown_progress

    server = LocalServer(run, _exchange(run))
    outcome = Outcome()
    with shown_progress(run, server), LiveState(run, server):
        _execute(run, server, outcome)
        server.is_over = True
        run.pool.end_sites()
        run.host.forwarder.end_all()
        run.spool.close()
        _deliver(run, outcome)
    result = summarize(run, server, outcome)
    try:
        result.save()
    except WorkspaceError as error:  # the disk is full: the result of the run is nevertheless shown
        outcome.error = outcome.error or error
    run.host.close()
    run.host.notify("fedtrack_job_ended", status=outcome.status)
    show_end(result)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.error is not None:
        raise outcome.error
    return result


def _exchange(run: ActiveRun) -> Exchange:
    try:
        if run.job.client_app is not None:
            return start_workers(run, run.job.client_app)
        start_sites(run)
    except JobError as error:
        return FailedExchange(error)
    return ScriptExchange(run.roster, run.job.meta.idle_timeout, run.workspace, run.pool, run.host.forwarder.end)


def _execute(run: ActiveRun, server: LocalServer, outcome: Outcome) -> None:
    run.host.start()
    server.notify("fedtrack_job_started")
    try:
        server.end_last_round()
        for id_, workflow in run.job.workflows.items():
            if server.enter(id_):
                executable(workflow).execute(server)
                server.leave()
        server.dismiss()
        outcome.status = "completed"
    except KeyboardInterrupt:
        outcome.status, outcome.interrupted = "aborted", True
        outcome.error = JobError("The run was interrupted.")
    except FedtrackError as error:
        outcome.error = error
    except Exception as error:
        # An error in fedtrack or in a workflow: records until now are nevertheless delivered.
        outcome.error = JobError(f"The run failed: {type(error).__name__}: {error}.", traceback.format_exc())


def _deliver(run: ActiveRun, outcome: Outcome) -> None:
    try:
        if outcome.interrupted:
            _finish(run, outcome, INTERRUPTED_STALL_SECONDS, INTERRUPTED_SECONDS)
        else:
            _finish(run, outcome, STALL_SECONDS, math.inf)
    except KeyboardInterrupt:
        outcome.interrupted = True
        for agent in run.agents:
            agent.hurry(INTERRUPTED_SECONDS)
        _finish(run, outcome, INTERRUPTED_STALL_SECONDS, INTERRUPTED_SECONDS)


def _finish(run: ActiveRun, outcome: Outcome, stall_seconds: float, limit: float) -> None:
    for agent in run.agents:
        agent.finish(outcome.status, stall_seconds, limit)
    outcome.reports = run.host.finish(outcome.status, stall_seconds, limit)
    for agent in run.agents:
        outcome.agents[agent.site] = agent.report()
