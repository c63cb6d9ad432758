"""Summaries of runs: what earlier versions wrote is read, and nothing that is not known is called complete."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fedtrack.runs.result import RunResult
from fedtrack.runs.tally import SiteTally

#: As an earlier version wrote it.
OLD: dict[str, Any] = {
    "run_id": "r1",
    "job_name": "job",
    "status": "completed",
    "error": "",
    "workspace": "/ws",
    "folder": "/ws/server/simulate_job",
    "seconds": 1.5,
    "rounds": [{"current_round": 0, "metrics": {"a": None}, "sites": ["site-1"], "seconds": 0.1, "bytes": 8}],
    "final_metrics": {},
    "best_round": None,
    "sites": {
        "site-1": {
            "logged": 40,
            "journaled": 40,
            "dropped": 0,
            "rejected": 1,
            "streams_to_server": True,
            "error": "",
        }
    },
    "receivers": {
        "mlflow": {
            "receiver": "mlflow",
            "node": "server",
            "delivered": 38,
            "skipped": {"text": 1, "image": 1},
            "dead": 0,
            "pending": 0,
            "error": "",
            "location": "",
            "command": "",
            "outage_seconds": 0.0,
            "outage": "",
        },
        "site-1/own": {
            "receiver": "tensorboard",
            "node": "site-1",
            "delivered": 40,
            "skipped": {},
            "dead": 0,
            "pending": 0,
            "error": "",
        },
    },
    "gaps": [],
    "cross_site": {},
    "key_metric": "",
    "waiting": {},
}


def load(tmp_path: Path, content: dict[str, Any]) -> RunResult:
    path = tmp_path / "run_summary.json"
    path.write_text(json.dumps(content))
    return RunResult.load(path)


def test_a_summary_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    result = load(tmp_path, OLD)
    assert (result.sites["site-1"].logged, result.sites["site-1"].calls, result.events_complete) == (40, 40, True)
    receiver = result.receivers["mlflow"]
    assert (receiver.not_supported, receiver.seen, receiver.addressed) == (2, 40, None)
    assert {label: one.label for label, one in result.receivers.items()} == {
        "mlflow": "mlflow",
        "site-1/own": "site-1/own",
    }
    assert result.rounds[0].steps is None


def test_keys_are_only_ever_added(tmp_path: Path) -> None:
    result = msgspec.structs.replace(load(tmp_path, OLD), workspace=tmp_path, folder=tmp_path)
    written = json.loads(result.save().read_text())
    moved = {"workspace": str(tmp_path), "folder": str(tmp_path)}
    assert contains(written, OLD | moved)
    assert RunResult.load(tmp_path / "run_summary.json") == result


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(contains(*pair) for pair in zip(whole, part, strict=True))
    return bool(whole == part)


@pytest.mark.parametrize(
    ("site", "calls", "complete"),
    [
        (SiteTally(40, 40, in_spool=0, lost=0), 40, True),
        (SiteTally(40, 40, rejected=3, withheld=2, in_spool=0, lost=0), 42, True),  # withheld is not lost
        (SiteTally(None, 40), None, False),
        (SiteTally(40, 40, dropped=None), None, False),
        (SiteTally(40, 40, withheld=None), None, False),
        (SiteTally(40, 40, dropped=2, in_spool=0, lost=0), 42, False),
        (SiteTally(40, 39, in_spool=1, lost=0), 40, False),
        (SiteTally(40, 39, in_spool=0, lost=1), 40, False),
        (SiteTally(40, 39), 40, False),
        (SiteTally(40, 40, unreadable="of a newer version"), 40, False),
        (SiteTally(40, 0, streams_to_server=False, node="", in_spool=40, lost=0), 40, True),
        (SiteTally(40, 0, streams_to_server=False, node="", in_spool=38, lost=2), 40, False),
        (SiteTally(40, 39, streams_to_server=False, node="site-1", in_spool=1, lost=0), 40, False),
    ],
)
def test_only_what_is_known_to_be_there_is_complete(
    tmp_path: Path, site: SiteTally, calls: int | None, complete: bool
) -> None:
    result = msgspec.structs.replace(load(tmp_path, OLD), sites={"site-1": site})
    assert (site.calls, result.events_complete) == (calls, complete)


def test_a_gap_or_a_site_that_waits_is_not_complete(tmp_path: Path) -> None:
    assert not load(tmp_path, OLD | {"gaps": [["site-1", "10 damaged bytes"]]}).events_complete
    assert not load(tmp_path, OLD | {"waiting": {"site-1": "of a newer version"}}).events_complete
