"""WandBWriter has every public method and attribute of W&B's run, and ``init``, with their arguments."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb.sdk.wandb_run import Run

from fedtrack.testing import MemoryLog
from fedtrack_wandb import WandBWriter
from support.signatures import missing_arguments

PUBLIC = sorted(name for name in dir(Run) if not name.startswith("_"))
METHODS = [
    name for name in PUBLIC if inspect.isfunction(inspect.getattr_static(Run, name)) or callable(getattr(Run, name))
]
ATTRIBUTES = [name for name in PUBLIC if name not in METHODS]

#: Classes of wandb that scripts pass to ``log``.
CLASSES = ("Artifact", "Audio", "Histogram", "Html", "Image", "Molecule", "Object3D", "Table", "Video")


def test_the_lists_of_wandb_are_read() -> None:
    assert {"log", "watch", "log_artifact"} <= set(METHODS)
    assert {"config", "id", "name"} <= set(ATTRIBUTES)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_takes_wandbs_arguments(memory_log: MemoryLog, name: str) -> None:
    # The default of root is a working folder of the SDK; those of the two functions are the SDK's own functions.
    assert missing_arguments(getattr(WandBWriter(), name), getattr(Run, name)) == []


def test_init_takes_wandbs_arguments(memory_log: MemoryLog) -> None:
    assert missing_arguments(WandBWriter().init, wandb.init) == []


@pytest.mark.parametrize("name", [*ATTRIBUTES, "summary"])
def test_each_attribute_reads(
    memory_log: MemoryLog, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert getattr(WandBWriter(), name) is not None


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_is_an_attribute(memory_log: MemoryLog, name: str) -> None:
    ours = getattr(WandBWriter(), name)
    theirs = getattr(wandb, name)
    first = [p.name for p in inspect.signature(theirs).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert [p.name for p in inspect.signature(ours).parameters.values()][: len(first)] == first


@pytest.mark.parametrize("name", METHODS)
def test_no_method_raises_for_nonsense(
    memory_log: MemoryLog, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    method: Any = getattr(WandBWriter(), name)
    needed = [p for p in inspect.signature(method).parameters.values() if p.default is inspect.Parameter.empty]
    for nonsense in (None, object(), "x", 3, [1], b"\0"):
        method(
            *(nonsense for item in needed if item.kind is not item.VAR_POSITIONAL and item.kind is not item.VAR_KEYWORD)
        )
