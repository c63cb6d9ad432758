"""Workers' folders: each process has a number and files of its own, also in a run that is resumed."""

from __future__ import annotations

from pathlib import Path

from fedtrack.runs.worker_folders import next_worker_folder, spool_of, worker_folders, worker_name


def test_each_worker_has_a_folder_that_no_earlier_one_had(tmp_path: Path) -> None:
    workers = tmp_path / "@workers" / "simulate_job"
    found = [next_worker_folder(workers) for _ in range(12)]
    assert [folder.name for folder in found] == [f"worker-{n}" for n in range(1, 13)]
    assert set(worker_folders(workers)) == set(found)
    assert found[0].stat().st_mode & 0o077 == 0


def test_what_else_lies_there_is_no_worker(tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    assert list(worker_folders(tmp_path)) == []
    assert next_worker_folder(tmp_path).name == "worker-1"


def test_a_worker_is_called_as_no_site_can_be(tmp_path: Path) -> None:
    folder = next_worker_folder(tmp_path)
    assert worker_name(folder) == "@worker-1"
    assert spool_of(folder).parent == folder


def test_the_folder_of_workers_may_be_a_link_to_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "@workers").symlink_to("../@workers")
    assert next_worker_folder(tmp_path / "runs" / "@workers").is_dir()
    assert [path.name for path in worker_folders(tmp_path / "@workers")] == ["worker-1"]
