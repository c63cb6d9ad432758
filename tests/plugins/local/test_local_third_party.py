"""Third-party plugins take part in a job like any other."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fedtrack_parquet import ParquetReceiver
from prometheus_client.parser import text_string_to_metric_families

from .conftest import MakeJob


def test_a_job_fills_parquet_files_and_shows_itself_to_prometheus(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = tmp_path / "collected"
    collected.mkdir()
    monkeypatch.setenv("FEDTRACK_PROMETHEUS_DIR", str(collected))
    job = make_job()
    job.to_server(ParquetReceiver())
    result = job.simulator_run(tmp_path / "ws")

    table = pq.read_table(result.folder / "parquet").to_pylist()
    for site in ("site-1", "site-2"):
        rows = [row for row in table if (row["site"], row["key"]) == (site, "loss")]
        assert [row["step"] for row in rows] == list(range(100))
        assert rows[1]["value"] == 0.5
    (file,) = collected.iterdir()
    samples = [sample for family in text_string_to_metric_families(file.read_text()) for sample in family.samples]
    assert {sample.labels["run_id"] for sample in samples} == {result.run_id}
    values = {(sample.name, sample.labels.get("site", "")): sample.value for sample in samples}
    assert values["fedtrack_job_running", ""] == 0
    assert values["fedtrack_round", ""] == 1
    assert values["fedtrack_results_total", "site-1"] == 2
