"""The plugin as core loads it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fedtrack import FedtrackError
from fedtrack.plugins import State, registry
from fedtrack.tracking.records import KINDS
from fedtrack_tensorboard import SummaryWriter, TBAnalyticsReceiver


def test_importing_the_plugin_imports_no_framework() -> None:
    code = (
        "import sys, fedtrack_tensorboard as plugin\n"
        "plugin.TBAnalyticsReceiver('elsewhere')\n"
        "print(*{'tensorboard', 'numpy', 'torch', 'google_crc32c'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize(
    "name",
    ["tensorboard", "TBAnalyticsReceiver", "nvflare.app_opt.tracking.tb.tb_receiver.TBAnalyticsReceiver"],
)
def test_a_job_may_name_the_receiver(name: str) -> None:
    assert registry().receiver(name) is TBAnalyticsReceiver
    assert registry().state_of(TBAnalyticsReceiver) == (State.LOADED, "")


def test_a_script_may_name_the_writer() -> None:
    assert registry().writer("SummaryWriter") is SummaryWriter


def test_options_are_checked() -> None:
    assert TBAnalyticsReceiver("folder", events=["analytix_log_stats"]).options.tb_folder == "folder"
    assert TBAnalyticsReceiver().options.tb_folder == "tb_events"
    with pytest.raises(FedtrackError, match="tb_dir"):
        TBAnalyticsReceiver(tb_dir="x")
    with pytest.raises(FedtrackError, match="tb_folder"):
        TBAnalyticsReceiver(tb_folder=3)


def test_every_kind_is_held() -> None:
    assert TBAnalyticsReceiver.supports == frozenset(KINDS.values())
