"""fedtrack inside transformers and Accelerate.

After ``import fedtrack_transformers`` both know the name: ``TrainingArguments(report_to="fedtrack")`` and
``Accelerator(log_with="fedtrack")``. ``FedtrackCallback()`` and ``FedtrackTracker()`` can be passed as well.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedtrack_transformers.callback import FedtrackCallback
    from fedtrack_transformers.tracker import FedtrackTracker

__all__ = ["FedtrackCallback", "FedtrackTracker"]

#: The library that each name needs: a script may have only one of the two.
_HOMES = {"FedtrackCallback": ("transformers", "callback"), "FedtrackTracker": ("accelerate", "tracker")}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    library, module = _HOMES[name]
    if find_spec(library) is None:
        raise ImportError(f"{name} needs {library}, which is not installed; install it with: pip install {library}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)


for _name, (_library, _) in _HOMES.items():
    if find_spec(_library) is not None:
        __getattr__(_name)  # importing the module tells the library its name
