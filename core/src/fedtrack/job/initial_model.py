"""The initial model as a job names it: a value, or how to build one; an engine turns it into a file."""

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


#: Writes a model, or what a ModelRecipe builds, to a safetensors file; see ``Engine.write_model``.
ModelWriter: TypeAlias = Callable[[Any, Path], None]


def named_model(model: Any) -> Any:
    """Return the ModelRecipe that ``model`` stands for, or ``model`` itself if it is no name.

    Args:
        model: A ``torch.nn.Module``, a mapping of tensors, ``"file.py:callable"``, or
            ``{"path": "file.py:callable", "args": {...}}``.

    Raises:
        ConfigError: It names a file that does not exist, or has not that shape.
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
