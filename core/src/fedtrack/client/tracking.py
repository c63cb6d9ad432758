"""The writers of the installed plugins: ``from fedtrack.client.tracking import SummaryWriter``.

Any writer feeds any receiver. The names depend on the installed plugins. If the plugin of a first-party writer is
missing, the ImportError says what to install.
"""

from __future__ import annotations

from typing import Any

from fedtrack.errors import PluginError
from fedtrack.plugins import registry

_FIRST_PARTY = {"SummaryWriter": "tensorboard", "MLflowWriter": "mlflow", "WandBWriter": "wandb"}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    try:
        return registry().writer(name)
    except PluginError as error:
        from fedtrack.plugins import remedy

        package = f"fedtrack[{_FIRST_PARTY[name]}]" if name in _FIRST_PARTY else ""
        raise ImportError(f"{error}; install it with: {remedy.install(package)}" if package else str(error)) from None


def __dir__() -> list[str]:
    return sorted(cls.__name__ for cls in registry().writers.values())
