"""hello-pt-wandb's command line: FLARE's flags in both spellings, seen in the job that they export."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.plugins import registry


def export(tmp_path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    job = registry().example("hello-pt-wandb").folder / "job.py"
    command = [sys.executable, str(job), "--export-config", "--job-root", str(tmp_path), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def receivers(config: Path) -> set[str]:
    return {item["path"] for item in json.loads(config.read_text())["components"]} & {"wandb", "tensorboard"}


@pytest.mark.parametrize(
    ("flags", "on_server", "on_site", "crosses"),
    [
        ([], {"wandb", "tensorboard"}, set(), True),
        (["--streamed_to_clients", "--no-streamed_to_server"], set(), {"wandb"}, False),
        (["--streamed-to-clients", "--no-streamed-to-server"], set(), {"wandb"}, False),
        (["--streamed-to-clients", "--streamed_to_server"], {"wandb", "tensorboard"}, {"wandb"}, True),
        (["--no-streamed-to-clients", "--streamed-to-server"], {"wandb", "tensorboard"}, set(), True),
    ],
)
def test_streaming(tmp_path: Path, flags: list[str], on_server: set[str], on_site: set[str], crosses: bool) -> None:
    done = export(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "fedavg-wandb"
    assert f"Exporting job config... {folder}" in done.stdout
    assert receivers(folder / "app_server" / "config" / "config_fed_server.json") == on_server
    site = folder / "app_site-1" / "config" / "config_fed_client.json"
    assert receivers(site) == on_site
    assert ("ConvertToFedEvent" in site.read_text()) == crosses


def test_external_process_in_both_spellings(tmp_path: Path) -> None:
    for spelling in ("--launch-external-process", "--launch_external_process"):
        assert export(tmp_path, spelling).returncode == 0
        config = (tmp_path / "fedavg-wandb" / "app_site-1" / "config" / "config_fed_client.json").read_text()
        assert json.loads(config)["executors"][0]["executor"]["args"]["launch_external_process"] is True


def test_nothing_to_stream_is_an_error(tmp_path: Path) -> None:
    done = export(tmp_path, "--no-streamed-to-server")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "Nothing would reach W&B" in done.stderr
