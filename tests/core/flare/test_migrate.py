"""``fedtrack migrate``: FLARE's imports become fedtrack's, and nothing else changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.flare.migrate import migrate


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import nvflare.client as flare", "import fedtrack.client as flare"),
        ("import os, nvflare.client as flare", "import os, fedtrack.client as flare"),
        ("from nvflare.client import FLModel", "from fedtrack.client import FLModel"),
        ("import nvflare.client.lightning as flare", "import fedtrack_lightning as flare"),
        ("from nvflare.client.lightning import patch", "from fedtrack_lightning import patch"),
        ("from nvflare.client.tracking import MLflowWriter", "from fedtrack.client.tracking import MLflowWriter"),
        ("from nvflare.client import tracking", "from fedtrack.client import tracking"),
        ("from nvflare.app_common.abstract.fl_model import FLModel", "from fedtrack.client import FLModel"),
        ("from nvflare.app_common.app_constant import ModelName", "from fedtrack.client import ModelName"),
        ("from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE", "from fedtrack.job import ANALYTIC_EVENT_TYPE"),
        (
            "from nvflare.apis.analytix import AnalyticsDataType as T",
            "from fedtrack.client import AnalyticsDataType as T",
        ),
        ("from nvflare import FedJob", "from fedtrack.job import FedJob"),
        ("from nvflare.app_opt.pt.job_config.fed_avg import FedAvgJob", "from fedtrack.job import FedAvgJob"),
        ("from nvflare.app_opt.pt.job_config.model import PTModel", "from fedtrack.job import PTModel"),
        ("from nvflare.app_common.workflows.fedavg import FedAvg", "from fedtrack.job import FedAvg"),
        (
            "from nvflare.app_common.workflows.cross_site_eval import CrossSiteEval",
            "from fedtrack.job import CrossSiteEval",
        ),
        (
            "from nvflare.job_config.script_runner import FrameworkType, ScriptRunner",
            "from fedtrack.job import FrameworkType, ScriptRunner",
        ),
        (
            "from nvflare.app_common.widgets.convert_to_fed_event import ConvertToFedEvent",
            "from fedtrack.job import ConvertToFedEvent",
        ),
        (
            "from nvflare.app_opt.tracking.mlflow.mlflow_receiver import MLflowReceiver",
            "from fedtrack_mlflow import MLflowReceiver",
        ),
        (
            "from nvflare.app_opt.tracking.wandb.wandb_receiver import WandBReceiver",
            "from fedtrack_wandb import WandBReceiver",
        ),
        (
            "from nvflare.app_opt.tracking.tb.tb_receiver import TBAnalyticsReceiver",
            "from fedtrack_tensorboard import TBAnalyticsReceiver",
        ),
        (
            "from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE, AnalyticsDataType",
            "from fedtrack.job import ANALYTIC_EVENT_TYPE\nfrom fedtrack.client import AnalyticsDataType",
        ),
        (
            "from nvflare.client import (  # the client API\n    FLModel,\n    send,  # sends\n)",
            "from fedtrack.client import (  # the client API\n    FLModel,\n    send,  # sends\n)",
        ),
        (
            "if True:\n    x = 'ä'; from nvflare.apis.analytix import AnalyticsDataType, ANALYTIC_EVENT_TYPE; y = 1",
            "if True:\n    x = 'ä'; from fedtrack.client import AnalyticsDataType; "
            "from fedtrack.job import ANALYTIC_EVENT_TYPE; y = 1",
        ),
        (
            "def f():\r\n    from nvflare.apis.analytix import ANALYTIC_EVENT_TYPE, AnalyticsDataType\r\n",
            "def f():\r\n    from fedtrack.job import ANALYTIC_EVENT_TYPE\n"
            "    from fedtrack.client import AnalyticsDataType\r\n",
        ),
        ("s = 'import nvflare.client as flare'  # from nvflare import FedJob", None),
        ("from .nvflare import FedJob\nimport nvflares.client as flare", None),
    ],
)
def test_import_moves(before: str, after: str | None) -> None:
    migrated = migrate(before, "s.py")
    assert migrated.text == (before if after is None else after)
    assert migrated.left == []


@pytest.mark.parametrize(
    ("before", "left"),
    [
        ("\nfrom nvflare.recipe import SimEnv", [(2, "nvflare.recipe.SimEnv")]),
        ("import nvflare.client", [(1, "nvflare.client")]),
        ("import nvflare.app_opt.pt as flare", [(1, "nvflare.app_opt.pt")]),
        ("from nvflare.client import *", [(1, "nvflare.client.*")]),
    ],
)
def test_what_has_no_counterpart_stays_and_is_named(before: str, left: list[tuple[int, str]]) -> None:
    migrated = migrate(before, "s.py")
    assert (migrated.text, migrated.left) == (before, left)


def test_names_of_one_import_go_separate_ways() -> None:
    migrated = migrate("from nvflare import FedJob, SimulatorRunner\nfrom nvflare.x import y, z", "s.py")
    assert migrated.text.splitlines()[:2] == ["from fedtrack.job import FedJob", "from nvflare import SimulatorRunner"]
    assert migrated.left == [(1, "nvflare.SimulatorRunner"), (2, "nvflare.x.y"), (2, "nvflare.x.z")]


def test_names_that_it_writes_exist() -> None:
    from importlib import import_module

    from fedtrack.flare.migrate import _homes

    homes = {name: home for name, home in _homes().items() if home != "fedtrack_lightning"}  # it needs Lightning
    assert [name for name, home in homes.items() if not hasattr(import_module(home), name)] == []


def test_what_is_no_python_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"s\.py is not valid Python"):
        migrate("from", "s.py")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "fedtrack", "migrate", *arguments], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    return done


def test_command_shows_a_diff_and_writes_only_when_told(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_bytes(b"import nvflare.client as flare\r\nfrom nvflare.recipe import SimEnv\r\n")
    shown = command(str(script))
    assert "-import nvflare.client as flare" in shown.stdout
    assert "+import fedtrack.client as flare" in shown.stdout
    assert f"{script}:2: fedtrack has no nvflare.recipe.SimEnv" in shown.stderr
    assert b"import nvflare.client as flare" in script.read_bytes()
    command("--write", str(script))
    assert script.read_bytes() == b"import fedtrack.client as flare\r\nfrom nvflare.recipe import SimEnv\r\n"
    assert command(str(script)).stdout == ""


def test_command_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    done = command(str(tmp_path / "absent.py"))
    assert done.returncode == 2
    assert "absent.py cannot be read" in done.stderr
