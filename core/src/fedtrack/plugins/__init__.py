"""Plugins: installed plugins are found, loaded behind a guard, and asked for their classes.

Importing this package costs nothing: names are loaded when they are first used, because every plugin imports
``fedtrack.plugins.markers``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack.lazy import lazy_names

if TYPE_CHECKING:
    from fedtrack.plugins.checks import SUPPORTED_APIS
    from fedtrack.plugins.loader import load, registry, unload
    from fedtrack.plugins.plugin_registry import Plugin, Registry, State

_HOMES = {
    "SUPPORTED_APIS": "fedtrack.plugins.checks",
    "Plugin": "fedtrack.plugins.plugin_registry",
    "Registry": "fedtrack.plugins.plugin_registry",
    "State": "fedtrack.plugins.plugin_registry",
    "load": "fedtrack.plugins.loader",
    "registry": "fedtrack.plugins.loader",
    "unload": "fedtrack.plugins.loader",
}

__all__ = ["SUPPORTED_APIS", "Plugin", "Registry", "State", "load", "registry", "unload"]


__getattr__, __dir__ = lazy_names(__name__, _HOMES)
