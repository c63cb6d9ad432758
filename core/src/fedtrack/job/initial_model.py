"""Turns what a user gives as initial model into a safetensors file that a job can carry."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedtrack.errors import ConfigError
from fedtrack.federated.params import save_params
from fedtrack.job.find_file import find_file

INITIAL_MODEL_FILE = "initial_model.safetensors"

#: Calls ``callable_name`` of ``script`` and writes the parameters to a file: (script, callable_name, target).
ModelBuilder = Callable[[Path, str, Path], None]


def write_initial_model(model: Any, target: Path, build: ModelBuilder) -> None:
    """Write the parameters of ``model`` to ``target``.

    Args:
        model: A ``torch.nn.Module``, a mapping of tensors, or ``"file.py:callable"``.
        target: The file to write.
        build: Runs a ``"file.py:callable"``, in a process other than this one.

    Raises:
        ConfigError: ``model`` is none of these, or the file or callable does not exist or fails.
        ModelError: A parameter is no tensor.
    """
    if isinstance(model, str):
        script, _, name = model.rpartition(":")
        if not script or not name.isidentifier():
            raise ConfigError(
                f"The initial model {model!r} is not valid; give 'file.py:callable', such as 'model.py:Net'."
            )
        build(find_file(script, "The initial model's file"), name, target)
        return
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


def build_model(script: Path, name: str, target: Path) -> None:
    """Call ``name`` of ``script`` in this process and write the parameters of what it returns.

    Raises:
        ConfigError: The callable does not exist.
    """
    sys.path.insert(0, str(script.parent))
    scope = runpy.run_path(str(script), run_name="__fedtrack_model__")
    if not callable(scope.get(name)):
        raise ConfigError(f"{script} has no callable {name!r}; it must return a torch.nn.Module or a dict of tensors.")
    save_params(params_of(scope[name]()), target)


def build_model_in_subprocess(script: Path, name: str, target: Path) -> None:
    """Do the same in a process of its own, so that this one never imports torch."""
    command = [sys.executable, "-m", "fedtrack.job.initial_model", str(script), name, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        raise ConfigError(f"The initial model {script.name}:{name} cannot be built:\n{done.stderr.strip()}")


if __name__ == "__main__":
    build_model(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
