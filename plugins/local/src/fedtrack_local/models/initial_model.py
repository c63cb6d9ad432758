"""The initial model: a module, tensors or a recipe of the job becomes a safetensors file that belongs to the job."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedtrack.errors import ConfigError
from fedtrack.job import ModelRecipe
from fedtrack_local.models.params import save_params
from fedtrack_local.source_file import import_file


def write_model(model: Any, target: Path) -> None:
    """Write the parameters of ``model`` to ``target``; a ModelRecipe is built first. See ``Engine.write_model``."""
    if isinstance(model, ModelRecipe):
        build_model_in_subprocess(model, target)
    else:
        save_params(params_of(model), target)


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
    """Call the recipe's callable in this process and write the parameters of the returned model.

    Raises:
        ConfigError: The callable does not exist.
    """
    build = getattr(import_file(recipe.script), recipe.callable_name, None)
    if not callable(build):
        raise ConfigError(
            f"{recipe.script} has no callable {recipe.callable_name!r}; "
            "it must return a torch.nn.Module or a dict of tensors."
        )
    _seed()
    save_params(params_of(build(**recipe.args)), target)


def _seed() -> None:
    """Seed the random numbers, so that the same job begins with the same model and its runs can be compared."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


def build_model_in_subprocess(recipe: ModelRecipe, target: Path) -> None:
    """Do the same as ``build_model`` in another process, so that this one never imports torch."""
    arguments = [str(recipe.script), recipe.callable_name, json.dumps(recipe.args), str(target)]
    command = [sys.executable, "-P", "-m", "fedtrack_local.models.initial_model", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"The initial model {recipe} cannot be built:\n{done.stderr.strip()}")


if __name__ == "__main__":
    script, callable_name, args, target = sys.argv[1:]
    build_model(ModelRecipe(Path(script), callable_name, json.loads(args)), Path(target))
