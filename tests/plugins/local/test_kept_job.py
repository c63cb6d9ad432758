"""The copy of a job in the workspace is what reading it from there would give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack.engine import LOCAL_ENGINE
from fedtrack.job.load import LoadedJob, load_job
from fedtrack.partial_engine import open_engine
from fedtrack.plugins import registry
from fedtrack.runs.workspace import Workspace
from fedtrack_local.kept_job import keep_job
from support.throwaway import Install, receivers

from .conftest import MakeJob


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace(tmp_path / "ws")
    yield opened
    opened.close()


def what_is_in(job: LoadedJob) -> dict[str, object]:
    return {name: value for name, value in vars(job).items() if name != "receivers"}


@pytest.mark.parametrize("relative", [True, False])
def test_a_kept_job_is_what_reading_the_copy_gives(
    make_job: MakeJob, tmp_path: Path, workspace: Workspace, relative: bool
) -> None:
    exported = make_job().export_job(tmp_path / "jobs")
    kept = keep_job(load_job(exported.relative_to(Path.cwd()) if relative else exported), workspace)
    assert kept.folder == tmp_path / "ws" / "job" / "test-job"
    assert what_is_in(kept) == what_is_in(load_job(kept.folder))
    assert all(site.script.is_file() for site in kept.sites)


def test_an_app_that_is_a_link_to_another_folder_of_the_job_is_kept_with_its_files(
    make_job: MakeJob, tmp_path: Path, workspace: Workspace
) -> None:
    exported = make_job().export_job(tmp_path / "jobs")
    (exported / "app_site-1").rename(exported / "elsewhere")
    (exported / "app_site-1").symlink_to("elsewhere")
    kept = keep_job(load_job(exported), workspace)
    assert kept.sites[0].script.is_relative_to(tmp_path / "ws")
    again = load_job(kept.folder).sites[0]
    assert again.script.read_bytes() == kept.sites[0].script.read_bytes()
    assert not (kept.folder / "app_site-1").is_symlink()  # a link to an absolute path would lead to the original


def test_receivers_are_built_once(make_job: MakeJob, tmp_path: Path, workspace: Workspace) -> None:
    job = load_job(make_job(analytics_receiver=True).export_job(tmp_path / "jobs"))
    assert list(keep_job(job, workspace).receivers.values()) == list(job.receivers.values())


def test_what_is_edited_after_the_start_is_not_what_ran(
    make_job: MakeJob, tmp_path: Path, workspace: Workspace
) -> None:
    job = load_job(make_job().export_job(tmp_path / "jobs"))
    kept = keep_job(job, workspace)
    job.sites[0].script.write_text("raise SystemExit")
    assert "raise SystemExit" not in kept.sites[0].script.read_text()


def test_a_job_in_the_workspace_stays_where_it_is(make_job: MakeJob, tmp_path: Path, workspace: Workspace) -> None:
    exported = make_job().export_job(tmp_path / "ws" / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "ws")
    kept = keep_job(load_job(tmp_path / "link" / "mine" / "test-job"), workspace)
    assert kept.folder == exported
    assert what_is_in(kept) == what_is_in(load_job(exported))


def test_a_run_builds_each_receiver_once(make_job: MakeJob, tmp_path: Path, install: Install) -> None:
    """And so reads its job once: building a receiver is part of that."""
    built = """
    def __init__(self, **arguments):
        super().__init__(**arguments)
        with open("built", "a") as file:
            file.write("x")
    """
    install("fedtrack-counted", receivers("counted", extra=built))
    exported = make_job(analytics_receiver=registry().receiver("counted")()).export_job(tmp_path / "jobs")
    (tmp_path / "built").write_text("")
    open_engine(LOCAL_ENGINE).run(exported, tmp_path / "ws")
    assert (tmp_path / "built").read_text() == "x"
