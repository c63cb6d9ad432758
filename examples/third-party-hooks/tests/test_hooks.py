"""The hooks write a file that Prometheus' own parser can read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fedtrack import RunInfo
from prometheus_client.parser import text_string_to_metric_families

import fedtrack_prometheus as plugin


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the collector reads."""
    collected = tmp_path / "collected"
    collected.mkdir()
    monkeypatch.setenv("FEDTRACK_PROMETHEUS_DIR", str(collected))
    yield collected
    plugin._files.clear()


def samples(folder: Path) -> dict[tuple[str, str], float]:
    """Return the samples in the only file of the folder, by name and by the label that distinguishes them."""
    (file,) = folder.glob("*.prom")
    found = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            assert sample.labels["run_id"] == "test-run"
            own = [value for name, value in sample.labels.items() if name not in ("run_id", "job_name")]
            found[sample.name, "".join(own)] = sample.value
    return found


def test_a_job_is_followed_to_its_end(run_info: RunInfo, folder: Path) -> None:
    plugin.fedtrack_job_started(run_info)
    assert samples(folder)["fedtrack_job_running", ""] == 1
    for current_round in range(2):
        for site in ("site-1", "site-2"):
            plugin.fedtrack_result_received(run_info, site)
        plugin.fedtrack_round_ended(run_info, current_round, {"accuracy": 0.5, "loss": math.nan})
    plugin.fedtrack_site_failed(run_info, "site-2")
    plugin.fedtrack_job_ended(run_info, "failed")
    found = samples(folder)
    assert found["fedtrack_job_running", ""] == 0
    assert found["fedtrack_job_sites", ""] == 2
    assert found["fedtrack_round", ""] == 1
    assert found["fedtrack_results_total", "site-1"] == 2
    assert found["fedtrack_site_failures_total", "site-2"] == 1
    assert found["fedtrack_round_metric", "accuracy"] == 0.5
    assert math.isnan(found["fedtrack_round_metric", "loss"])
    assert ("fedtrack_job_end_time_seconds", "failed") in found


@pytest.mark.threat("T5")
def test_labels_are_escaped(run_info: RunInfo, folder: Path) -> None:
    name = 'a "job"\\with\nlines'
    plugin.fedtrack_job_started(replace(run_info, job_name=name))
    text = next(folder.glob("*.prom")).read_text()
    families = list(text_string_to_metric_families(text))
    assert {sample.labels["job_name"] for family in families for sample in family.samples} == {name}


def test_nothing_is_written_beside_the_file(run_info: RunInfo, folder: Path) -> None:
    plugin.fedtrack_job_started(run_info)
    plugin.fedtrack_job_ended(run_info, "completed")
    assert [path.name for path in folder.iterdir()] == ["fedtrack_test-run.prom"]


def test_without_a_folder_nothing_is_written(run_info: RunInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDTRACK_PROMETHEUS_DIR", raising=False)
    plugin.fedtrack_job_started(run_info)
    plugin.fedtrack_site_failed(run_info, "site-1")
    plugin.fedtrack_round_ended(run_info, 0, {"loss": 0.5})
    plugin.fedtrack_result_received(run_info, "site-1")
    plugin.fedtrack_job_ended(run_info, "completed")
    assert list(run_info.folder.iterdir()) == []
