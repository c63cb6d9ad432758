"""The server of the page, as the command starts it, and the trackers beside it."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from fedtrack.errors import ConfigError, FedtrackError, WorkspaceError
from fedtrack.runs import StoredRun
from fedtrack_ui.serve import PageServer
from fedtrack_ui.trackers import started_trackers
from support.journaled import JournaledRun


def test_a_server_says_where_it_is_and_ends_in_order(run: JournaledRun) -> None:
    server, ready = PageServer(run.base, port=0), threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    assert ready.wait(10)
    with httpx2.stream("GET", f"{server.url}api/runs/{run.run_id}/live", timeout=10) as news:
        assert next(news.iter_lines()).startswith("data: ")
        server.stop()  # also while somebody waits for news
    thread.join(10)
    assert not thread.is_alive()


def test_a_server_beyond_this_machine_has_a_token(tmp_path: Path) -> None:
    server = PageServer(tmp_path, "0.0.0.0", 0)  # noqa: S104 - nothing is served
    assert server.token
    assert server.url.endswith(f"/?token={server.token}")
    server.close()


def test_the_usual_port_may_be_taken_and_a_chosen_one_may_not(tmp_path: Path) -> None:
    first = PageServer(tmp_path)
    second = PageServer(tmp_path)
    port = int(first.url.rstrip("/").rpartition(":")[2])
    assert second.url != first.url
    with pytest.raises(WorkspaceError, match="choose another --host or --port"):
        PageServer(tmp_path, port=port)
    first.close()
    second.close()


def test_an_address_and_a_folder_that_is_none_are_refused(tmp_path: Path) -> None:
    from fedtrack.cli.app import build_app

    for given, said in (("https://host:8443", "ssh -L"), (str(tmp_path / "none"), "is no folder")):
        done = CliRunner().invoke(build_app(), ["ui", given])
        assert isinstance(done.exception, FedtrackError)
        assert said in str(done.exception)


def test_a_tracker_that_is_not_known_or_has_no_files_is_refused(run: JournaledRun) -> None:
    for name, said in (("wandb", "valid are mlflow and tensorboard"), ("mlflow", "No run here has files of mlflow")):
        with pytest.raises(ConfigError, match=said), started_trackers([name], [StoredRun(run.base)]):
            pass
