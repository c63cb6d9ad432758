"""The facts of a job tell jobs with other files or rounds apart."""

from __future__ import annotations

from pathlib import Path

from fedtrack.job import FedAvg
from fedtrack.job.facts import facts_of, hash_of


def test_rounds_workflows_and_aggregators(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    found = facts_of([FedAvg(num_rounds=3), FedAvg(num_rounds=2)], tmp_path)
    assert (found["rounds"], found["workflows"]) == (5, "FedAvg, FedAvg")
    assert found["aggregator"] == FedAvg().aggregator
    assert found["job_hash"] == hash_of(tmp_path)


def test_the_hash_is_that_of_names_and_content(tmp_path: Path) -> None:
    file = tmp_path / "client.py"
    file.write_text("a")
    first = hash_of(tmp_path)
    assert hash_of(tmp_path) == first
    file.write_text("b")
    second = hash_of(tmp_path)
    file.rename(tmp_path / "other.py")
    assert len({first, second, hash_of(tmp_path)}) == 3
    assert len(first) == 16
