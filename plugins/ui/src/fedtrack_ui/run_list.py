"""RunList: the runs below a folder, with their state and their last values."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from fedtrack.errors import FedtrackError
from fedtrack.runs import StoredRun, view
from fedtrack_ui.places import runs_below
from fedtrack_ui.plain import plain
from fedtrack_ui.rollup import reading
from fedtrack_ui.rollup.view_file import FILE, ViewFile
from fedtrack_ui.run_facts import key_metric

#: The most runs that are listed.
RUNS = 200


def run_list(folder: Path) -> dict[str, Any]:
    """Return the newest runs below a folder.

    Raises:
        ConfigError: The folder does not exist.
    """
    found = runs_below(folder)
    return {
        "folder": str(folder),
        "total": len(found),
        "runs": [_row(name, run) for name, run in list(found.items())[:RUNS]],
    }


def _row(name: str, run: StoredRun) -> dict[str, Any]:
    record = run.record
    row: dict[str, Any] = {
        "name": name,
        "job": run.base.name,
        "state": "unknown",
        "detail": "",
        "started_ms": record.started_ns / 1e6 if record else None,
        "folder": str(run.base),
        "engine": record.engine if record else "",
        "seconds": None,
        "sites": None,
        "rounds": None,
        "key": "",
        "value": None,
        "complete": None,
    }
    try:
        state, result = view(run), run.result
    except (FedtrackError, OSError, sqlite3.Error) as error:
        return row | {"detail": str(error)}
    row |= {"state": str(state.state), "job": state.job_name or row["job"], "events": state.events}
    if result is not None:
        key = result.key_metric or next(iter(result.rounds[-1].metrics), "") if result.rounds else ""
        final = result.final_metrics.get(key)
        row |= {
            "seconds": result.seconds,
            "sites": sum(1 for site in result.sites if site != "server" and site[:1] != "@"),
            "rounds": len(result.rounds),
            "key": key,
            "value": plain(result.rounds[-1].metrics.get(key) if final is None and result.rounds else final),
            "complete": result.events_complete,
        }
    elif state.progress is not None:
        row |= {"sites": state.progress.sites, "rounds": state.progress.rounds_done}
    return row if row["key"] else row | _from_view(run)


def _from_view(run: StoredRun) -> dict[str, Any]:
    """Return the key metric and its last value from the view file, if there is one."""
    path = run.folder / FILE
    if not path.exists():
        return {}
    try:
        file = ViewFile(path, write=False)
    except sqlite3.Error:
        return {}
    try:
        key = key_metric(reading.metrics(file.database), None)
        query = "SELECT last FROM series WHERE key = ? ORDER BY site != 'server', last_ns DESC LIMIT 1"
        row = file.database.execute(query, (key,)).fetchone()
    except sqlite3.Error:
        return {}
    finally:
        file.close()
    return {"key": key, "value": plain(row[0])} if row else {}
