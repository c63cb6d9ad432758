"""Agreement: what the commands and the summary say of a run, compared with the files and with each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faults.oracle import Facts
from typer.testing import CliRunner

from fedtrack.cli.app import build_app


def say(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and what it printed to standard output."""
    done = CliRunner().invoke(build_app(), list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


def shown(workspace: Path) -> dict[str, Any]:
    """Return what ``runs show`` says."""
    code, text = say("runs", "show", str(workspace), "--json")
    assert code == 0, text
    found: dict[str, Any] = json.loads(text)
    return found


def disagreements(
    facts: Facts, workspace: Path, exit_code: int | None = None, *, swallowed: bool = False
) -> Iterator[str]:
    """Yield each statement about a run that is not true, or contradicts another one.

    Args:
        facts: What is in the files.
        workspace: The run.
        exit_code: How its command ended; None if that is not known, or it was killed.
        swallowed: Whether the backend confirmed what it did not keep: then only ``verify`` can tell.
    """
    show = shown(workspace)
    code, _ = say("runs", "verify", str(workspace), "--json")
    _, listed = say("runs", "list", str(workspace), "--json")
    state = json.loads(listed)[0]["status"]
    arrived = facts.everything_arrived
    if facts.twice:
        yield f"{facts.twice} are in the journal twice"
    if show["complete"] and not (arrived or (swallowed and facts.all_journaled)):
        yield f"show says complete: {_lacking(facts)}"
    if code == 0 and not arrived:
        yield f"verify finds nothing: {_lacking(facts)}"
    if code == 0 and not show["complete"]:
        yield "verify finds nothing, and show says incomplete"
    if arrived and not show["complete"] and not show["refused"]:
        yield f"show says incomplete, and nothing is missing: {show}"
    if show["complete"] and arrived and code:
        yield "verify finds differences, and nothing is missing"
    if show.get("state", state) != state:
        yield f"list says {state}, show says {show['state']}"
    for site in facts.returned:
        yield from _disagreements(site, facts, show["sites"].get(site))
    summary = workspace / "server" / "simulate_job" / "run_summary.json"
    if summary.exists():
        yield from _summary(json.loads(summary.read_bytes()), show)
    if exit_code == 0 and not (show["events_complete"] and state in ("completed", "complete")):
        yield f"the exit code is 0, and the run is {state}, its events are {show['events_complete']}"


def _disagreements(site: str, facts: Facts, said: dict[str, Any] | None) -> Iterator[str]:
    if said is None:
        yield f"show does not know {site}"
        return
    journal, spool = facts.journal.get(site, set()), facts.spool.get(site, set())
    if said["journaled"] != len(journal):
        yield f"{site}: show says {said['journaled']} in the journal, there are {len(journal)}"
    if said["in_spool"] not in (None, len(spool)):
        yield f"{site}: show says {said['in_spool']} in the spool only, there are {len(spool)}"
    lost = len(facts.lost(site))
    counted = (said["dropped"] or 0) + (said["lost"] or 0)
    known = said["dropped"] is not None and said["lost"] is not None
    if known and counted < lost:
        yield f"{site}: show says {said['dropped']} dropped and {said['lost']} lost, {lost} are nowhere"
    if known and counted > lost + 1:  # a call that was cut off may be counted
        yield f"{site}: show says {counted} dropped or lost, only {lost} are nowhere"


def _summary(summary: dict[str, Any], show: dict[str, Any]) -> Iterator[str]:
    for site, said in summary["sites"].items():
        other = show["sites"].get(site, {})
        for key in ("logged", "journaled", "dropped", "lost"):
            # What was not known at the end of the run can be known now.
            if said.get(key) is not None and said.get(key) != other.get(key):
                yield f"{site}: the summary says {key} {said.get(key)}, show says {other.get(key)}"


def _lacking(facts: Facts) -> str:
    parts = []
    for site, calls in facts.returned.items():
        journal, backend = facts.journal.get(site, set()), facts.backend.get(site, set())
        parts.append(f"{site} lacks {len(calls - journal)} in the journal, {len(journal - backend)} in the backend")
    return "; ".join(parts)
