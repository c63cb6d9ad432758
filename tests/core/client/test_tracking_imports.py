"""``from fedtrack.client.tracking import ...``: writers come from plugins."""

from __future__ import annotations

import re

import pytest

import fedtrack.client as flare
from fedtrack.errors import ConfigError
from fedtrack.plugins import remedy, unload


def test_writers_of_the_installed_plugins() -> None:
    from fedtrack.client.tracking import MLflowWriter, SummaryWriter, WandBWriter

    assert [cls.name for cls in (MLflowWriter, SummaryWriter, WandBWriter)] == ["mlflow", "tensorboard", "wandb"]


def test_missing_plugin_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDTRACK_DISABLE_PLUGINS", "mlflow")
    unload()
    try:
        with pytest.raises(ImportError, match=re.escape(remedy.install("fedtrack[mlflow]"))):
            from fedtrack.client.tracking import MLflowWriter  # noqa: F401
    finally:
        monkeypatch.undo()
        unload()


def test_unknown_writer_names_the_installed_ones() -> None:
    with pytest.raises(ImportError, match=r"No writer is called 'CometWriter'; installed: mlflow, tensorboard, wandb"):
        from fedtrack.client.tracking import CometWriter  # noqa: F401


def test_outside_a_job_every_call_says_so() -> None:
    for call in (flare.init, flare.is_running, flare.receive, flare.get_site_name):
        with pytest.raises(ConfigError, match="does not belong to a fedtrack job"):
            call()
