"""Site specs: what each process of a job is told, so that no two share a folder, a GPU or all the cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedtrack.job import FedAvgJob
from fedtrack.job.load import LoadedJob, load_job
from fedtrack.policy import RunTerms
from fedtrack.runs.workspace import Workspace
from fedtrack_local.processes.messages import SiteSpec
from fedtrack_local.scripts.site_spec import site_spec

MakeJob = Callable[..., FedAvgJob]


def specs(job: LoadedJob, folder: Path, gpus: str | None = None) -> list[SiteSpec]:
    with closing(Workspace(folder)) as workspace:
        info = SimpleNamespace(run_id="run-7")
        run: Any = SimpleNamespace(job=job, info=info, workspace=workspace, gpus=gpus, terms=RunTerms())
        return [site_spec(site, run) for site in job.sites]


def test_every_site_has_places_of_its_own_in_the_workspace(make_job: MakeJob, tmp_path: Path) -> None:
    job = load_job(make_job(n_clients=3).export_job(tmp_path / "jobs"))
    found = specs(job, tmp_path / "ws")
    for attribute in ("name", "spool", "exchange", "log"):
        assert len({getattr(spec, attribute) for spec in found}) == 3
    assert all(Path(path).is_relative_to(tmp_path / "ws") for s in found for path in (s.spool, s.exchange, s.log))
    assert [spec.config["site_index"] for spec in found] == [0, 1, 2]
    assert {spec.run_id for spec in found} == {"run-7"}


def test_gpus_are_dealt_out_in_the_jobs_order(make_job: MakeJob, tmp_path: Path) -> None:
    job = load_job(make_job(n_clients=3).export_job(tmp_path / "jobs"))
    given = [spec.environment for spec in specs(job, tmp_path / "ws", "0,[2,3]")]
    assert given == [{"CUDA_VISIBLE_DEVICES": ids} for ids in ("0", "2,3", "0")]
    assert [spec.environment for spec in specs(job, tmp_path / "ws")] == [{}] * 3


def test_sites_share_the_cores_and_each_has_one_at_least(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = load_job(make_job(n_clients=3).export_job(tmp_path / "jobs"))
    for cores, threads in ((8, 2), (2, 1), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        assert {spec.threads for spec in specs(job, tmp_path / "ws")} == {threads}


def test_an_external_process_runs_this_python_and_keeps_the_users_threads(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = load_job(make_job(external=True).export_job(tmp_path / "jobs"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    (first, _) = specs(job, tmp_path / "ws")
    assert first.external == [sys.executable, "-u"]
    assert first.environment.pop("PATH").split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert first.environment == {"OMP_NUM_THREADS": "4"}
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert specs(job, tmp_path / "ws")[0].environment["OMP_NUM_THREADS"] == "7"
