"""Durability and the spool's limit, as set in a job."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.load import load_job

from .conftest import MakeJob

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
    assert site.dropped > 0
    assert site.logged == site.journaled  # gap records included
    assert f"Lost:        site-1: {site.dropped:,} log calls found no room on the disk." in capsys.readouterr().out


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
