"""Temporary distributions: real ``.dist-info`` folders with a plugin, which are removed after the test."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import TypeAlias

import pytest

from fedtrack import plugins

Install: TypeAlias = Callable[..., None]

RECEIVER = """
from fedtrack import Receiver, hookimpl
from fedtrack.tracking.records import Metric

class {cls}(Receiver):
    name = {name!r}
    summary = "A throw-away receiver."
    supports = frozenset({{Metric}})
    {extra}
    def open(self, run): ...
    def receive(self, batch): ...
"""


def receivers(*names: str, extra: str = "", cls: str = "") -> str:
    """Return the source of a plugin that provides receivers of these names."""
    classes = [cls or f"Receiver{i}" for i in range(len(names))]
    source = "".join(RECEIVER.format(cls=c, name=n, extra=extra) for c, n in zip(classes, names, strict=True))
    return f"{source}\n@hookimpl\ndef fedtrack_receivers():\n    return [{', '.join(classes)}]\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    for variable in ("FEDTRACK_DISABLE_PLUGINS", "FEDTRACK_PLUGINS", "FEDTRACK_STRICT_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)
    before = set(sys.modules)
    plugins.unload()
    yield folder
    plugins.unload()
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Install:
    """Install a distribution with one plugin: ``install("fedtrack-csv", source, ...)``."""

    def install(package: str, source: str, *, name: str = "", version: str = "1.0", requires: str = "") -> None:
        module = package.replace("-", "_")
        (site / f"{module}.py").write_text(dedent(source))
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        needed = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n{needed}")
        (info / "entry_points.txt").write_text(f"[fedtrack]\n{name or package.split('-')[-1]} = {module}\n")
        importlib.invalidate_caches()

    return install
