"""Turns what a user gives as initial model into a safetensors file that a job can carry."""

from __future__ import annotations

import json
import random
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedtrack.errors import ConfigError
from fedtrack.federated.params import save_params
from fedtrack.job.find_file import find_file

INITIAL_MODEL_FILE = "initial_model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """A model that is built by calling something in a file.

    Attributes:
        script: The file.
        callable_name: What to call in it.
        args: Its keyword arguments; anything that JSON can hold.
    """

    script: Path
    callable_name: str
    args: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.script.name}:{self.callable_name}"


#: Builds a model and writes its parameters to a file.
ModelBuilder = Callable[[ModelRecipe, Path], None]


def write_initial_model(model: Any, target: Path, build: ModelBuilder) -> None:
    """Write the parameters of ``model`` to ``target``.

    Args:
        model: A ``torch.nn.Module``, a mapping of tensors, ``"file.py:callable"``, or
            ``{"path": "file.py:callable", "args": {...}}``.
        target: The file to write.
        build: Calls what is in a file, in a process other than this one.

    Raises:
        ConfigError: ``model`` is none of these, or the file or callable does not exist or fails.
        ModelError: A parameter is no tensor.
    """
    recipe = _recipe_of(model)
    if recipe is not None:
        build(recipe, target)
    else:
        save_params(params_of(model), target)


def _recipe_of(model: Any) -> ModelRecipe | None:
    path, args = model, {}
    if isinstance(model, dict) and isinstance(model.get("path"), str) and model.keys() <= {"path", "args"}:
        path, args = model["path"], model.get("args", {})
    if not isinstance(path, str):
        return None
    script, _, name = path.rpartition(":")
    if not script or not name.isidentifier():
        raise ConfigError(f"The initial model {path!r} is not valid; give 'file.py:callable', such as 'model.py:Net'.")
    return ModelRecipe(find_file(script, "The initial model's file"), name, args)


def params_of(model: Any) -> Mapping[str, Any]:
    """Return the parameters of a module (its ``state_dict``) or of a mapping of tensors."""
    if isinstance(model, Mapping):
        return model
    if callable(getattr(model, "state_dict", None)):
        params: Mapping[str, Any] = model.state_dict()
        return params
    raise ConfigError(
        f"The initial model is a {type(model).__name__}; "
        "give a torch.nn.Module, a dict of tensors or 'file.py:callable'."
    )


def build_model(recipe: ModelRecipe, target: Path) -> None:
    """Follow ``recipe`` in this process and write the parameters of what it returns.

    Raises:
        ConfigError: The callable does not exist.
    """
    sys.path.insert(0, str(recipe.script.parent))
    build = runpy.run_path(str(recipe.script), run_name="__fedtrack_model__").get(recipe.callable_name)
    if not callable(build):
        raise ConfigError(
            f"{recipe.script} has no callable {recipe.callable_name!r}; "
            "it must return a torch.nn.Module or a dict of tensors."
        )
    _seed()
    save_params(params_of(build(**recipe.args)), target)


def _seed() -> None:
    """Make the same job begin with the same model: a run that cannot be repeated cannot be compared."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def build_model_in_subprocess(recipe: ModelRecipe, target: Path) -> None:
    """Do the same in a process of its own, so that this one never imports torch."""
    arguments = [str(recipe.script), recipe.callable_name, json.dumps(recipe.args), str(target)]
    command = [sys.executable, "-m", "fedtrack.job.initial_model", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"The initial model {recipe} cannot be built:\n{done.stderr.strip()}")


if __name__ == "__main__":
    script, callable_name, args, target = sys.argv[1:]
    build_model(ModelRecipe(Path(script), callable_name, json.loads(args)), Path(target))
