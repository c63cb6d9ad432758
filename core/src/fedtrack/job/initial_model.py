"""The initial model of a job: a value, or a recipe to build one; an engine writes it to a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fedtrack.errors import ConfigError
from fedtrack.job.files import find_file

INITIAL_MODEL_FILE = "initial_model.safetensors"


@dataclass(frozen=True, slots=True)
class ModelRecipe:
    """A model that is built by a call of a function or a class in a file.

    Attributes:
        script: The file.
        callable_name: The name of the function or class.
        args: The keyword arguments of the call; anything that JSON can hold.
    """

    script: Path
    callable_name: str
    args: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.script.name}:{self.callable_name}"


#: Writes a model, or the one that a ModelRecipe builds, to a safetensors file; see ``Engine.write_model``.
ModelWriter: TypeAlias = Callable[[Any, Path], None]


def named_model(model: Any) -> Any:
    """Return the ModelRecipe for ``model``, or ``model`` itself if it is not a name.

    Args:
        model: A ``torch.nn.Module``, a mapping of tensors, ``"file.py:callable"``, or
            ``{"path": "file.py:callable", "args": {...}}``.

    Raises:
        ConfigError: ``model`` names a file that does not exist, or has another shape.
    """
    path, args = model, {}
    if isinstance(model, dict) and isinstance(model.get("path"), str) and model.keys() <= {"path", "args"}:
        path, args = model["path"], model.get("args", {})
    if not isinstance(path, str):
        return model
    script, _, name = path.rpartition(":")
    if not script or not name.isidentifier():
        raise ConfigError(f"The initial model {path!r} is not valid; give 'file.py:callable', such as 'model.py:Net'.")
    return ModelRecipe(find_file(script, "The initial model's file"), name, args)
