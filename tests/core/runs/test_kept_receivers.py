"""Kept receivers: what a run without a job delivers to, stored without a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import ConfigError, DamagedError, PluginError
from fedtrack.runs.kept_receivers import RECEIVERS_FILE, NamedReceiver, built, keep_receivers, read_receivers

pytest.importorskip("fedtrack_tensorboard")

KEPT = {"tb": NamedReceiver("tensorboard", {"tb_folder": "${ENV:KEPT_FOLDER}"})}


def test_they_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT_FOLDER", "events-of-7")
    keep_receivers(tmp_path, KEPT)
    assert read_receivers(tmp_path) == KEPT
    assert "events-of-7" not in (tmp_path / RECEIVERS_FILE).read_text()
    receiver = built(read_receivers(tmp_path), "here")["tb"]
    assert receiver.name == "tensorboard"


def test_a_run_may_have_none(tmp_path: Path) -> None:
    assert read_receivers(tmp_path) == {}


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / RECEIVERS_FILE).write_text("{")
    with pytest.raises(DamagedError, match=RECEIVERS_FILE):
        read_receivers(tmp_path)


def test_what_cannot_be_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEPT_FOLDER", raising=False)
    with pytest.raises(ConfigError, match="KEPT_FOLDER"):
        built(KEPT, "here")
    with pytest.raises(ConfigError, match="no_such"):
        built({"tb": NamedReceiver("tensorboard", {"no_such": 1})}, "here")
    with pytest.raises(PluginError, match="no-such"):
        built({"x": NamedReceiver("no-such")}, "here")
