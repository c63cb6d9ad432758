"""The figures of a report."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fedtrack.errors import PluginError
from fedtrack.runs import StoredRun
from fedtrack_ui.figures import write_figures
from support.journaled import JournaledRun


def test_each_metric_of_the_sites_has_a_figure(run: JournaledRun, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run.log_values("site-1", "../../odd name", [1.0], 0)
    written = write_figures([StoredRun(run.base)], tmp_path / "figures")
    assert [path.name for path in written] == [".._.._odd_name.png", "accuracy.png", "train_loss.png"]
    for path in written:
        assert path.parent == tmp_path / "figures"
        assert path.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_remedy_is_said(
    run: JournaledRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PluginError, match="pip install matplotlib"):
        write_figures([StoredRun(run.base)], tmp_path / "figures")
