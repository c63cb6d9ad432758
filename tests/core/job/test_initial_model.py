"""Initial models by name: what stands for a file and a callable, and what is a model itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.initial_model import ModelRecipe, named_model


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").touch()
    return tmp_path / "model.py"


def test_a_name_is_a_file_and_a_callable(script: Path) -> None:
    assert named_model("model.py:Net") == ModelRecipe(script, "Net", {})
    assert named_model(f"{script}:Net") == ModelRecipe(script, "Net", {})
    assert named_model({"path": "model.py:Net", "args": {"width": 3}}) == ModelRecipe(script, "Net", {"width": 3})
    assert named_model({"path": "model.py:Net"}) == ModelRecipe(script, "Net", {})
    assert str(ModelRecipe(script, "Net", {})) == "model.py:Net"


@pytest.mark.parametrize("model", [None, 5, {}, {"w": 1}, {"path": 1}, {"path": "model.py:Net", "bias": 2}])
def test_what_is_no_name_is_the_model(model: Any) -> None:
    assert named_model(model) is model


@pytest.mark.parametrize("name", ["", "Net", ":Net", "model.py:", "model.py:Net()", "model.py:a.b", "model.Net"])
def test_a_name_that_says_no_callable_is_refused_with_one_that_does(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not valid; give 'file\.py:callable', such as 'model\.py:Net'"):
        named_model(name)


@pytest.mark.usefixtures("script")
def test_a_file_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^The initial model's file 'nets\.py' does not exist; looked in"):
        named_model("nets.py:Net")
