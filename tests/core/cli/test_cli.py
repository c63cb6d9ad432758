"""The command line as a user types it, in processes of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "mlflow", "wandb", "tensorboard")


def fedtrack(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedtrack", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere"], "nowhere/meta.json cannot be read: No such file or directory"),
        (["run"], "Give an exported job"),
        (["resume", "nowhere"], "There is no run to resume in 'nowhere'"),
        (["submit", "nowhere", "--target", "ws"], "nowhere/meta.json cannot be read: No such file or directory"),
        (["run", "x", "--engine", "ray"], "No engine is called 'ray'; installed: local"),
        (["receivers", "info", "nope"], "No receiver is called 'nope'; installed: mlflow, parquet, tensorboard, wandb"),
        (["examples", "run", "nope"], "No example is called 'nope'; installed: hello-"),
        (["examples", "prepare-data", "nope"], "No data set is called 'nope'; valid are 'digits'"),
        (["job", "show", "nowhere"], "cannot be read"),
        (["receivers", "list", "--nope"], "No such option"),
        (["nope"], "No such command"),
    ],
)
def test_user_errors_are_one_sentence_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = fedtrack(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_listings_print_tables_and_json() -> None:
    table = fedtrack("receivers", "list").stdout
    assert table.splitlines()[0].split() == ["NAME", "PACKAGE", "VERSION", "STATE", "SUPPORTS", "SUMMARY"]
    rows = json.loads(fedtrack("receivers", "list", "--json").stdout)
    assert {row["name"]: row["package"] for row in rows} == {
        "mlflow": "fedtrack-mlflow",
        "parquet": "fedtrack-parquet",
        "tensorboard": "fedtrack-tensorboard",
        "wandb": "fedtrack-wandb",
    }
    assert {row["state"] for row in rows} == {"loaded"}
    examples = {row["name"] for row in json.loads(fedtrack("examples", "list", "--json").stdout)}
    assert {"hello-pt-mlflow", "hello-pt-mlflow-client", "hello-pt-tensorboard", "hello-pt-wandb"} <= examples
    writers = json.loads(fedtrack("writers", "list", "--json").stdout)
    assert "from fedtrack.client.tracking import MLflowWriter" in {row["import"] for row in writers}


def test_receiver_info_shows_its_arguments() -> None:
    info = json.loads(fedtrack("receivers", "info", "MLflowReceiver", "--json").stdout)
    assert info["name"] == "mlflow"
    names = [argument["name"] for argument in info["arguments"]]
    assert set(names) == {"tracking_uri", "kw_args", "artifact_location", "events", "buffer_flush_time"}


@pytest.mark.parametrize("arguments", [["receivers", "list"], ["examples", "list"], ["--help"], ["plugins", "list"]])
def test_listing_imports_no_framework(arguments: list[str]) -> None:
    code = (
        "import sys; from fedtrack.cli import main\n"
        f"sys.argv = ['fedtrack', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('HEAVY', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_broken_plugin_does_not_break_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('boom')")
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedtrack]\nbroken = broken_plugin\n")
    done = fedtrack("receivers", "list", env={"PYTHONPATH": str(tmp_path), "PATH": ""})
    assert done.returncode == 0
    assert "broken" in done.stdout
    assert "RuntimeError: boom" in done.stdout
    assert "mlflow" in done.stdout


def test_example_is_copied_as_a_project_of_ones_own(tmp_path: Path) -> None:
    assert fedtrack("examples", "copy", "hello-pt-mlflow", cwd=tmp_path).returncode == 0
    copied = tmp_path / "hello-pt-mlflow"
    assert {"job.py", "client.py", "model.py", "README.md"} <= {path.name for path in copied.iterdir()}
    again = fedtrack("examples", "copy", "hello-pt-mlflow", cwd=tmp_path)
    assert (again.returncode, "not an empty folder" in again.stderr) == (2, True)


def test_job_show_says_what_runs_where(tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text(
        "import numpy as np\n"
        "from fedtrack.job import FedAvgJob, ScriptRunner\n"
        "job = FedAvgJob({'w': np.ones(2)}, 2, 3, 'shown')\n"
        "job.to_clients(ScriptRunner('job.py', '--lr 1'))\n"
        "job.export_job('.')\n"
    )
    subprocess.run([sys.executable, str(job)], cwd=tmp_path, check=True, timeout=60)
    shown = fedtrack("job", "show", "shown", cwd=tmp_path).stdout
    for line in (
        "shown: 2 sites",
        "workflow  controller: FedAvg",
        "receiver  receiver: tensorboard",
        "script    job.py --lr 1",
    ):
        assert line in shown


@pytest.mark.parametrize("setting", ["", "0"])
def test_the_version_says_whether_log_calls_are_compiled(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv("FEDTRACK_SPEEDUPS", setting)
    done = fedtrack("--version")
    first, second = done.stdout.splitlines()
    assert first == f"fedtrack {version('fedtrack')}"
    if setting:
        assert second == "log calls: in Python, because FEDTRACK_SPEEDUPS is 0"
    elif importlib.util.find_spec("fedtrack.spool._spool_base"):
        assert second == "log calls: compiled"
    else:
        assert "install a C compiler, then" in second
