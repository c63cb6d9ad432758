"""Durability and the spool's limit, as set in a job."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.engine import RunHandle, RunState
from fedtrack.errors import ConfigError, JobError
from fedtrack.job.load import load_job
from fedtrack.plugins import registry
from fedtrack.runs.result import RunResult

from .conftest import MakeJob

pytestmark = pytest.mark.slow

COUNT_SYNCS = """
import os, pathlib
if model.current_round == 0:
    syncs = []
    real = os.fdatasync
    os.fdatasync = lambda descriptor: (syncs.append(descriptor), real(descriptor))
else:
    pathlib.Path(f"syncs-{flare.get_site_name()}").write_text(str(len(syncs)))
"""


@pytest.mark.parametrize("external", [False, True])
@pytest.mark.parametrize(("durability", "least", "most"), [("process", 0, 0), ("disk", 50, 60)])
def test_a_job_says_what_a_log_call_survives(
    make_job: MakeJob, tmp_path: Path, durability: str, least: int, most: int, external: bool
) -> None:
    """Between the first round's end and the second round's, each site logs 50 times."""
    make_job(COUNT_SYNCS, durability=durability, external=external).simulator_run(tmp_path / "ws")
    counted = [int(path.read_text()) for path in (tmp_path / "ws").rglob("syncs-site-*")]
    assert len(counted) == 2
    assert all(least <= count <= most for count in counted), counted


def test_what_exceeds_the_limit_is_dropped_counted_and_said(
    make_job: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Faster than anybody reads: one call of 40,000 metrics, 30 bytes each.
    train = "writer.record_metrics({f'metric-{i:06}': 1.0 for i in range(40_000)}, step)"
    result = make_job(train, spool_limit=128 * 1024).simulator_run(tmp_path / "ws")
    site = result.sites["site-1"]
    assert site.dropped
    assert site.calls == 2 * (50 + 40_000)
    assert site.logged == site.journaled == site.calls - site.dropped
    assert not result.events_complete
    assert f"Lost:        site-1: {site.dropped:,} log calls found no room in its spool." in capsys.readouterr().out

    # No command calls that complete.
    shown = fedtrack("show", str(tmp_path / "ws"))
    assert (shown.returncode, "events: incomplete" in shown.stdout) == (0, True)
    assert f"dropped: site-1: {site.dropped:,} log calls found no room in its spool" in shown.stdout
    as_json = json.loads(fedtrack("show", str(tmp_path / "ws"), "--json").stdout)
    assert (as_json["events_complete"], as_json["sites"]["site-1"]["dropped"]) == (False, site.dropped)
    verified = fedtrack("verify", str(tmp_path / "ws"))
    assert (verified.returncode, "Everything is there." in verified.stdout) == (1, False)
    status = registry().engine("local")().status(RunHandle("local", str(tmp_path / "ws"), result.run_id, ""))
    assert (status.state, status.events_complete) == (RunState.COMPLETED, False)


def test_what_a_killed_site_could_not_store_is_known_to_the_last_call(make_job: MakeJob, tmp_path: Path) -> None:
    train = """
import os, signal
if flare.get_site_name() == "site-1":
    writer.record_metrics({f"metric-{i:06}": 1.0 for i in range(10_000)}, step)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    with pytest.raises(JobError, match="killed by SIGKILL"):
        make_job(train, spool_limit=128 * 1024).simulator_run(tmp_path / "ws")
    result = RunResult.load(next((tmp_path / "ws").rglob("run_summary.json")))
    site = result.sites["site-1"]
    assert site.dropped
    assert site.calls == 50 + 10_000
    assert site.logged == site.journaled == site.calls - site.dropped
    assert not result.events_complete


def fedtrack(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedtrack", "runs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"durability": "ram"}, "valid are 'process', 'host' and 'disk'"), ({"spool_limit": 1000}, "at least 131072")],
)
def test_options_are_checked_in_python_and_in_files(
    make_job: MakeJob, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_job(**options)
    folder = make_job(durability="host", spool_limit=2**20).export_job(tmp_path / "jobs")
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["durability"], meta["spool_limit"]) == ("host", 2**20)
    (folder / "meta.json").write_text(json.dumps(meta | options))
    with pytest.raises(ConfigError, match=f"{folder}/meta.json: .*{next(iter(options))}"):
        load_job(folder)
