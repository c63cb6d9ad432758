"""RunFacts: what a page knows of a run before it looks at one metric: state, sites, rounds, metrics, what failed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import NamedTuple

from fedtrack.runs import RunResult, RunView, StoredRun, view
from fedtrack_ui.across import ordered
from fedtrack_ui.rollup import reading
from fedtrack_ui.timeline import Timeline, timeline
from fedtrack_ui.words import is_about_the_run


class RunFacts(NamedTuple):
    """A run.

    Attributes:
        run: Its folders.
        state: Its state.
        result: Its summary; None while it runs.
        sites: Every site that is known, without the server.
        failed: Why sites failed.
        metrics: Every metric.
        key: The metric that the four answers are about, or "".
        times: The rounds.
        events: How many events of the journal the view file has.
        started_ns: When it began; 0 if that is not known.
        seconds: How long it took, or takes so far; None if that is not known.
        job: The name of its job.
    """

    run: StoredRun
    state: RunView
    result: RunResult | None
    sites: list[str]
    failed: dict[str, str]
    metrics: list[reading.KnownMetric]
    key: str
    times: Timeline
    events: int
    started_ns: int
    seconds: float | None
    job: str

    @property
    def app_server(self) -> Path:
        """The folder of the models that the server kept."""
        return self.run.folder / "app_server"


def facts_of(run: StoredRun, database: sqlite3.Connection) -> RunFacts:
    """Return what is known of a run."""
    state, result, record = view(run), run.result, run.record
    spans = reading.spans(database)
    known = {site for site in (*spans, *(result.sites if result else ())) if site != "server" and site[:1] != "@"}
    sites = ordered(known)
    failed = {site: tally.error for site, tally in result.sites.items() if tally.error} if result else {}
    if state.progress is not None and not failed:
        failed = dict(state.progress.failed)
    times = timeline(database, result, len(sites))
    found = [one for one in reading.metrics(database) if one.sites or one.on_server]
    started = (
        record.started_ns if record else min((span.time0 for by in spans.values() for span in by.values()), default=0)
    )
    ended = max((span.time1 for by in spans.values() for span in by.values()), default=started)
    took = result.seconds if result and result.seconds else max(0.0, (ended - started) / 1e9) if ended else None
    job = state.job_name or (result.job_name if result else "") or run.base.name
    return RunFacts(
        run,
        state,
        result,
        sites,
        failed,
        found,
        key_metric(found, result),
        times,
        reading.events(database),
        started,
        took,
        job,
    )


def key_metric(found: list[reading.KnownMetric], result: RunResult | None) -> str:
    """Return the metric that the job names, or else the one that most sites and the server log."""
    known = {one.key for one in found}
    named = [result.key_metric] if result and result.key_metric else []
    if result and result.rounds:
        named += list(result.rounds[-1].metrics)
    for key in named:
        if key in known:
            return key
    own = [one for one in found if not is_about_the_run(one.key)]
    both = sorted(own, key=lambda one: (not (one.on_server and one.sites), not one.rounds, -one.sites, one.streamed))
    return both[0].key if both else ""
