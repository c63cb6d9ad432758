"""What somebody types who has a clone and a package index: every spelling, with pip and uv, on every Python.

Deselected by default; run it with ``pytest -m network tests/packaging/test_clone.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clone import INTERPRETERS, Environment, make_clone, write_plugin
from support.venv import run, uv

pytestmark = [pytest.mark.network, pytest.mark.timeout(1200)]


def from_the_clone(environment: Environment, clone: Path) -> None:
    environment.install("./core[mlflow]", cwd=clone)


def from_elsewhere(environment: Environment, clone: Path) -> None:
    environment.install(f"{clone}/core[mlflow]", cwd=environment.folder)


def from_core(environment: Environment, clone: Path) -> None:
    environment.install(".[mlflow]", cwd=clone / "core")


def editable(environment: Environment, clone: Path) -> None:
    environment.install("-e", "./core[mlflow]", cwd=clone)


def core_only(environment: Environment, clone: Path) -> None:
    environment.install("./core", cwd=clone)


def core_and_plugin(environment: Environment, clone: Path) -> None:
    environment.install("./core", "./plugins/mlflow", cwd=clone)


def from_git(environment: Environment, clone: Path) -> None:
    environment.install(f"fedtrack[mlflow] @ git+{with_a_host(clone)}#subdirectory=core", cwd=environment.folder)


def core_from_git(environment: Environment, clone: Path) -> None:
    environment.install(f"git+{clone.as_uri()}#subdirectory=core", cwd=environment.folder)


def with_a_host(clone: Path) -> str:
    """Return the clone's URL; before 24.1 pip takes none without a host behind a name."""
    return clone.as_uri().replace("file:///", "file://localhost/")


def from_a_commit(environment: Environment, clone: Path) -> None:
    """Installers keep what they have built of a commit: the second environment gets what the first has left."""
    commit = run("git", "rev-parse", "HEAD", cwd=clone).stdout.strip()
    requirement = f"fedtrack[mlflow] @ git+{with_a_host(clone)}@{commit}#subdirectory=core"
    environment.install(requirement, cwd=environment.folder)
    environment.call(environment.python, "-m", "fedtrack", "--version", cwd=environment.folder)
    again = Environment(environment.folder.with_name("again"), environment.installer, "here")
    again.install(requirement, cwd=again.folder)


SPELLINGS: list[Callable[[Environment, Path], None]] = [
    from_the_clone,
    from_elsewhere,
    from_core,
    editable,
    core_only,
    core_and_plugin,
    core_from_git,
    from_git,
    from_a_commit,
]

JOB = """
import numpy as np
from fedtrack_mlflow import MLflowReceiver
from fedtrack.job import FedAvgJob, ScriptRunner

if __name__ == "__main__":
    job = FedAvgJob({"w": np.zeros(2, np.float32)}, n_clients=1, num_rounds=1, key_metric="", analytics_receiver=False)
    job.to_clients(ScriptRunner("client.py", framework="numpy"))
    job.to_server(MLflowReceiver())
    job.simulator_run("ws")
"""

CLIENT = """
import fedtrack.client as flare
from fedtrack.client.tracking import MLflowWriter

flare.init()
while flare.is_running():
    model = flare.receive()
    MLflowWriter().log_metric("loss", 0.5, 1)
    flare.send(flare.FLModel(params=model.params))
"""


def receiver(environment: Environment, cwd: Path) -> dict[str, str] | None:
    """Return MLflow's row in the list of receivers."""
    listed = json.loads(environment.call("fedtrack", "receivers", "list", "--json", cwd=cwd).stdout)
    return next((row for row in listed if row["name"] == "mlflow"), None)


def follow_the_remedy(environment: Environment, cwd: Path) -> None:
    """Type what the program says, for an environment that lacks MLflow's receiver or its SDK."""
    row = receiver(environment, cwd)
    said = environment.call("fedtrack", "receivers", "list", cwd=cwd).stdout
    command = row["remedy"] if row else said.strip().partition("try: ")[2].replace("[tensorboard]", "[mlflow]")
    assert command
    environment.call("sh", "-c", command, cwd=cwd)


def run_a_job(environment: Environment, folder: Path) -> None:
    """Run a job without torch, and look whether its metric has got to MLflow."""
    folder.mkdir()
    (folder / "job.py").write_text(JOB)
    (folder / "client.py").write_text(CLIENT)
    environment.call("python", "job.py", cwd=folder)
    summary = json.loads((folder / "ws" / "server" / "simulate_job" / "run_summary.json").read_text())
    assert summary["status"] == "completed"
    assert summary["sites"]["site-1"]["journaled"] == 1


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda spelling: spelling.__name__)
@pytest.mark.parametrize("installer", ["pip", "uv"])
@pytest.mark.parametrize("version", INTERPRETERS)
def test_a_clone_installs_works_and_may_go(
    version: str, installer: str, spelling: Callable[[Environment, Path], None], tmp_path: Path
) -> None:
    clone = make_clone(tmp_path / "a clone")
    environment = Environment(tmp_path / "venv", installer, version)
    spelling(environment, clone)
    if spelling in (core_only, core_and_plugin, core_from_git):
        follow_the_remedy(environment, tmp_path)
    row = receiver(environment, tmp_path)
    assert row
    assert row["state"] == "loaded"
    run_a_job(environment, tmp_path / "job")

    assert not [line for line in environment.requirements() if " @ " in line and "extra ==" not in line]
    clone.rename(tmp_path / "moved")
    plugin = write_plugin(tmp_path)
    for command in (
        ("python", "-m", "pip", "--python", environment.python, "install", plugin),
        (uv(), "pip", "install", "--no-config", plugin),
    ):
        if installer == "pip" or command[0] == uv():
            environment.call(*command, cwd=tmp_path)
            environment.call(uv(), "pip", "uninstall", "fedtrack-other", cwd=tmp_path)


def test_a_project_of_uvs_adds_a_clone_and_then_a_plugin(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    project = tmp_path / "project"
    project.mkdir()
    run(uv(), "init", "--quiet", "--bare", "--python", "3.11", cwd=project)
    run(uv(), "add", "--quiet", f"{clone}/core[mlflow]", cwd=project, timeout=500)
    run(uv(), "add", "--quiet", write_plugin(tmp_path), cwd=project, timeout=500)
    listed = run(uv(), "run", "fedtrack", "receivers", "list", "--json", cwd=project).stdout
    assert [(row["name"], row["state"]) for row in json.loads(listed)] == [("mlflow", "loaded")]


#: The ends of the ranges that core declares, and what Flower pins.
COMMAND_LINES = [("typer==0.15.4", "rich==13.5.0"), ("typer<0.21", "rich<15"), ("typer", "rich")]


@pytest.mark.parametrize("versions", COMMAND_LINES, ids=lambda versions: versions[0])
def test_the_command_line_works_at_both_ends_of_what_it_allows(versions: tuple[str, str], tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    environment = Environment(tmp_path / "venv", "uv", "here")
    environment.install("--no-config", "--upgrade", f"{clone}/core[mlflow]", *versions, cwd=tmp_path)
    assert "receivers" in environment.call("fedtrack", "--help", cwd=tmp_path).stdout
    assert "list" in environment.call("fedtrack", "receivers", "--help", cwd=tmp_path).stdout
    assert "loaded" in environment.call("fedtrack", "receivers", "list", cwd=tmp_path).stdout
    row = receiver(environment, tmp_path)
    assert row
    assert row["state"] == "loaded"
    wrong = environment.call("fedtrack", "receivers", "info", "csv", cwd=tmp_path, check=False)
    assert wrong.returncode == 2
    assert "No receiver is called 'csv'" in wrong.stderr


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_other_frameworks_can_stand_beside_it(installer: str, tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    environment = Environment(tmp_path / "venv", installer, "here")
    environment.install("--dry-run", f"{clone}/core[mlflow]", "flwr", "nvflare", cwd=tmp_path)
