"""The code of "Writing a workflow" runs as it stands on the page, and is what a new project holds."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.scaffold import write_project
from fedtrack_local import Server, load_params
from support.pages import files_on
from support.throwaway import Install, install, site
from support.venv import ROOT, Venv

__all__ = ["install", "site"]

PAGE = (ROOT / "docs" / "plugins" / "writing-a-workflow.md").read_text()
AGGREGATOR = "fedtrack_median.py"

CLIENT = """
import fedtrack.client as flare

flare.init()
while flare.is_running():
    model = flare.receive()
    number = int(flare.get_site_name()[-1])
    value = {1: 1.0, 2: 2.0, 3: 1e6}[number]
    if number == 1:
        flare.send(flare.FLModel(params={"w": model.params["w"] * 0 + value}, params_type="DIFF"))
    else:
        flare.send(flare.FLModel(params={"w": model.params["w"] + value}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's first command writes."""
    return write_project("patience", "workflow", tmp_path_factory.mktemp("page") / "fedtrack-patience")


def test_the_page_shows_what_a_new_project_holds(project: Path) -> None:
    shown = files_on(PAGE)
    assert set(shown) == {
        "src/fedtrack_patience/__init__.py",
        "src/fedtrack_patience/workflow.py",
        "tests/test_workflow.py",
        AGGREGATOR,
    }
    for name, text in shown.items():
        assert name == AGGREGATOR or text == (project / name).read_text()


@pytest.mark.xdist_group("scaffold")
def test_the_code_on_the_page_runs(project: Path, tmp_path: Path) -> None:
    for name, text in files_on(PAGE).items():
        if name != AGGREGATOR:
            (project / name).write_text(text)
    venv = Venv(tmp_path / "venv")
    venv.see_development()
    venv.pip("install", "--no-index", "--no-deps", "--editable", project)
    output = venv.run("-m", "pytest", "-p", "no:cacheprovider", cwd=project).stdout
    assert "5 passed" in output, output
    assert re.search(r"^Patience +fedtrack-patience ", venv.run("-m", "fedtrack", "workflows", "list").stdout, re.M)


def test_the_aggregator_on_the_page_averages_a_job(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fedtrack-median", files_on(PAGE)[AGGREGATOR])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(CLIENT)
    job = FedAvgJob({"w": np.zeros(2)}, 3, num_rounds=2, analytics_receiver=False, aggregator="median")
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    result = job.simulator_run(tmp_path / "ws")
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    np.testing.assert_array_equal(model["w"], [4.0, 4.0])


def test_the_page_names_everything_that_the_server_offers() -> None:
    offered = {name for name in {*Server.__annotations__, *vars(Server)} if not name.startswith("_")}
    own = {"final_metrics", "cross_site", "cross_site_file"}  # for the workflows of fedtrack-local
    table = PAGE.partition("## 3.")[2].partition("## 4.")[0]
    assert {*re.findall(r"`server\.(\w+)", table)} == offered - own
    for name, arguments in re.findall(r"^\| `server\.(\w+)\(([a-z, ]*)\)` \|", table, re.MULTILINE):
        wanted = [item for item in arguments.split(", ") if item]
        assert list(inspect.signature(getattr(Server, name)).parameters)[1:] == wanted
