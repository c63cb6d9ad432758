"""NamedSites: a job that is for all sites gets the names of one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job import FedAvg, FedJob, ScriptRunner
from fedtrack.job.load import load_job
from fedtrack.job.named_sites import with_sites


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("client.py").write_text("")
    job = FedJob("all", min_clients=2)
    job.to_server(FedAvg(num_rounds=1))
    job.to_clients(ScriptRunner("client.py"))
    return job.export_job("jobs")


def test_a_copy_has_the_names_and_the_job_stays_as_it_is(folder: Path) -> None:
    before = (folder / "meta.json").read_text()
    with with_sites(folder, ["a", "b", "c"]) as named:
        loaded = load_job(named)
        assert [site.name for site in loaded.sites] == ["a", "b", "c"]
        assert named.name == "all"
    assert not named.exists()
    assert (folder / "meta.json").read_text() == before


def test_one_app_for_all_is_the_servers_too(folder: Path) -> None:
    """FLARE's own jobs have an app for every node."""
    for name in ("config", "custom"):
        for path in (folder / "app_sites" / name).iterdir():
            path.rename(folder / "app_server" / name / path.name)
    meta = json.loads((folder / "meta.json").read_text()) | {"deploy_map": {"app_server": ["@ALL"]}}
    (folder / "meta.json").write_text(json.dumps(meta))
    with with_sites(folder, ["a", "b"]) as named:
        assert [site.name for site in load_job(named).sites] == ["a", "b"]


def test_settings_must_fit_the_names(folder: Path) -> None:
    message = r"meta\.json: \$\.min_clients is 2, but the job has 1 sites"
    with pytest.raises(ConfigError, match=message), with_sites(folder, ["a"]):
        pass


def test_a_job_that_names_its_sites_keeps_them(folder: Path) -> None:
    meta = json.loads((folder / "meta.json").read_text())
    meta["deploy_map"]["app_sites"] = ["a", "b"]
    (folder / "meta.json").write_text(json.dumps(meta))
    for sites in (None, ["b", "a"]):
        with with_sites(folder, sites) as named:
            assert named == folder
    with pytest.raises(ConfigError, match=r"\$\.deploy_map names the sites a, b; leave out"), with_sites(folder, ["c"]):
        pass
