"""Initial models: built where torch may be imported, the same each time, and named when they cannot be."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import ConfigError, ModelError
from fedtrack.job.initial_model import ModelRecipe
from fedtrack_local.models.initial_model import build_model, params_of, write_model
from fedtrack_local.models.params import load_params

SCRIPT = """
import random
import numpy as np
from beside import SIZE

def make(width=SIZE):
    return {"w": np.random.standard_normal(width), "r": np.array([random.random()])}

class Net:
    def state_dict(self):
        return {"w": np.ones(2)}

constant = 5
def nothing():
    return None
def fail():
    raise RuntimeError("no such data set")
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "beside", raising=False)
    (tmp_path / "beside.py").write_text("SIZE = 3\n")
    path = tmp_path / "model.py"
    path.write_text(SCRIPT)
    return path


def test_a_builder_finds_the_modules_beside_it_and_gets_its_arguments(script: Path, tmp_path: Path) -> None:
    build_model(ModelRecipe(script, "make", {"width": 5}), tmp_path / "m")
    assert load_params(tmp_path / "m")["w"].shape == (5,)
    build_model(ModelRecipe(script, "make", {}), tmp_path / "m")
    assert load_params(tmp_path / "m")["w"].shape == (3,)


def test_the_same_recipe_gives_the_same_model_whatever_was_drawn_before(script: Path, tmp_path: Path) -> None:
    found = []
    for name in ("first", "second"):
        build_model(ModelRecipe(script, "make", {}), tmp_path / name)
        found.append({key: value.tobytes() for key, value in load_params(tmp_path / name).items()})
        random.random()
        np.random.random()
    assert found[0] == found[1]


def test_what_has_a_state_dict_is_a_module(script: Path, tmp_path: Path) -> None:
    build_model(ModelRecipe(script, "Net", {}), tmp_path / "m")
    assert load_params(tmp_path / "m")["w"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("name", ["missing", "constant"])
def test_a_name_that_builds_nothing_is_refused(name: str, script: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"model.py has no callable '{name}'; it must return"):
        build_model(ModelRecipe(script, name, {}), tmp_path / "m")


def test_a_builder_that_returns_no_model_is_refused(script: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The initial model is a NoneType; give a torch"):
        build_model(ModelRecipe(script, "nothing", {}), tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_recipe_is_followed_in_another_process_whose_traceback_is_shown(script: Path, tmp_path: Path) -> None:
    write_model(ModelRecipe(script, "make", {"width": 2}), tmp_path / "m")
    assert load_params(tmp_path / "m")["w"].shape == (2,)
    assert "beside" not in sys.modules
    with pytest.raises(ConfigError, match="cannot be built") as caught:
        write_model(ModelRecipe(script, "fail", {}), tmp_path / "n")
    assert "RuntimeError: no such data set" in str(caught.value)


@pytest.mark.parametrize("model", [5, None, "model.py", [np.ones(2)]])
def test_what_is_no_model_is_refused_with_what_is_one(model: Any) -> None:
    with pytest.raises(ConfigError, match=f"is a {type(model).__name__}; give a torch.nn.Module, a dict of tensors"):
        params_of(model)


def test_a_value_that_is_no_tensor_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Tensor 'w' is a list"):
        write_model({"w": [1.0]}, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_importing_it_brings_no_torch() -> None:
    code = "import sys, fedtrack_local.models.initial_model; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
