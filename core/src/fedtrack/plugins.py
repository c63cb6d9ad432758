"""Finds installed plugins and loads each behind a guard.

A plugin that cannot be used is a state with a reason, never an exception: only a job that needs it fails.
pluggy's own loader stops at the first plugin that raises, so the entry points are loaded here one by one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distributions, version
from typing import Any

import pluggy

from fedtrack import hookspecs
from fedtrack.errors import PluginError
from fedtrack.markers import PROJECT
from fedtrack.registry import Plugin, Registry, State
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.writer import Writer

__all__ = ["SUPPORTED_APIS", "Plugin", "Registry", "State", "load", "registry", "unload"]

log = logging.getLogger(__name__)

#: Interface numbers (``Receiver.api``, ``Writer.api``) that this version of the core serves.
SUPPORTED_APIS = (1,)

_REQUIRES_CORE = re.compile(r"fedtrack\s*(?![\w.-])", re.IGNORECASE)


@cache
def registry() -> Registry:
    """Load every installed plugin once and return what they provide.

    Raises:
        PluginError: Only with ``FEDTRACK_STRICT_PLUGINS=1``, if a plugin could not be loaded.
    """
    loaded = load(_entry_points())
    broken = [p for p in loaded.plugins if p.state not in (State.LOADED, State.DISABLED)]
    if broken and os.environ.get("FEDTRACK_STRICT_PLUGINS", "") not in ("", "0"):
        raise PluginError(f"Plugin {broken[0].name!r} is {broken[0].state}: {broken[0].reason}.")
    return loaded


def load(entry_points: Iterable[tuple[EntryPoint, Distribution]]) -> Registry:
    """Load the given entry points, each behind its own guard."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    found = Registry(manager)
    for entry_point, distribution in sorted(entry_points, key=lambda pair: pair[0].name):
        plugin = _plugin(entry_point, distribution)
        same = [p for p in found.plugins if p.name == plugin.name and p.state in (State.LOADED, State.CONFLICT)]
        found.plugins.append(plugin)
        if reason := _disabled(plugin.name):
            plugin.fail(State.DISABLED, reason)
        elif reason := _incompatible(distribution):
            plugin.fail(State.INCOMPATIBLE, reason)
        elif same:
            _conflict(found, [*same, plugin], f"provide a plugin called {plugin.name!r}")
        else:
            _load_one(found, plugin, entry_point)
    return found


def _plugin(entry_point: EntryPoint, distribution: Distribution) -> Plugin:
    package = _field(distribution, "Name", "a distribution without a name")
    return Plugin(entry_point.name, package, _field(distribution, "Version", "without a version"))


def _field(distribution: Distribution, field: str, default: str) -> str:
    # A METADATA file that is missing or cut off has no fields.
    metadata = distribution.metadata
    return metadata[field] if field in metadata else default  # noqa: SIM401 - it promises no get()


def _load_one(found: Registry, plugin: Plugin, entry_point: EntryPoint) -> None:
    try:
        # A plugin that prints would break --json listings; one that exits would end the CLI.
        with contextlib.redirect_stdout(io.StringIO()):
            module = entry_point.load()
            found.hooks.register(module, plugin.name)
            found.hooks.check_pending()
            _register_all(found, plugin, module)
    except ModuleNotFoundError as error:
        plugin.fail(State.MISSING_DEPENDENCY, f"importing it needs the module {error.name!r}")
    except (Exception, SystemExit) as error:
        plugin.fail(State.FAILED, f"{type(error).__name__}: {error}")
    if plugin.state is not State.LOADED:
        _withdraw(found, plugin)


def _register_all(found: Registry, plugin: Plugin, module: Any) -> None:
    bases = {"receiver": Receiver, "writer": Writer, "engine": None, "example": None}
    provided = [(kind, item) for kind in bases for item in _provided(found, module, f"fedtrack_{kind}s")]
    for kind, item in provided:
        _validate(kind, item, bases[kind])
    for kind, item in provided:
        _register(found, plugin, kind, item)


def _provided(found: Registry, module: Any, hook: str) -> list[Any]:
    others = [p for p in found.hooks.get_plugins() if p is not module]
    results = found.hooks.subset_hook_caller(hook, others)()
    for result in results:
        if not isinstance(result, Iterable) or isinstance(result, type | str):
            raise TypeError(f"{hook} returned {result!r}; it must return a list, also of one")
    return [item for result in results for item in result]


def _validate(kind: str, item: Any, base: type | None) -> None:
    if base is not None and not (isinstance(item, type) and issubclass(item, base)):
        raise TypeError(f"fedtrack_{kind}s returned {item!r}, which is no subclass of {base.__name__}")
    shown = getattr(item, "__name__", repr(item))
    for attribute in ("name", "summary"):
        if not isinstance(getattr(item, attribute, None), str):
            raise TypeError(f"{shown}.{attribute} is missing; it must be a str")
    if base is Receiver and not isinstance(getattr(item, "supports", None), frozenset):
        raise TypeError(f"{shown}.supports is missing; it must be a frozenset of record classes")
    if base is not None and item.api not in SUPPORTED_APIS:
        served = ", ".join(map(str, SUPPORTED_APIS))
        raise TypeError(f"{shown} is written for api {item.api}, this core serves {served}")


def _register(found: Registry, plugin: Plugin, kind: str, item: Any) -> None:
    other = found.owners.get((kind, item.name))
    if other is None:
        found.table(kind)[item.name] = item
        found.owners[kind, item.name] = plugin
        return
    if other is plugin:
        raise TypeError(f"it provides two {kind}s called {item.name!r}")
    _conflict(found, [other, plugin], f"provide a {kind} called {item.name!r}")


def _conflict(found: Registry, plugins: list[Plugin], what: str) -> None:
    """Disable all of them: neither may win by being installed later."""
    packages = " and ".join(plugin.package for plugin in plugins)
    for plugin in plugins:
        if plugin.state is State.LOADED:
            plugin.fail(State.CONFLICT, f"both {packages} {what}; uninstall one")
            _withdraw(found, plugin)


def _withdraw(found: Registry, plugin: Plugin) -> None:
    """Take back everything that a plugin registered: its hooks, its classes, its examples."""
    if found.hooks.has_plugin(plugin.name):
        found.hooks.unregister(name=plugin.name)
    for kind, name in [owned for owned, owner in found.owners.items() if owner is plugin]:
        found.table(kind).pop(name, None)
        if plugin.state is not State.CONFLICT:  # after a conflict a third plugin must not win by coming later
            del found.owners[kind, name]


def _entry_points() -> list[tuple[EntryPoint, Distribution]]:
    found: dict[tuple[str, str], tuple[EntryPoint, Distribution]] = {}
    for distribution in distributions():
        try:
            entry_points = distribution.entry_points
        except Exception as error:  # one damaged file must not hide every plugin
            log.warning("%s: its entry points cannot be read: %s", _field(distribution, "Name", "?"), error)
            continue
        for entry_point in entry_points:
            if entry_point.group == PROJECT:
                # The first one on sys.path is the one that an import gets.
                found.setdefault((_field(distribution, "Name", ""), entry_point.name), (entry_point, distribution))
    return list(found.values())


def _disabled(name: str) -> str:
    disabled = os.environ.get("FEDTRACK_DISABLE_PLUGINS", "")
    if name in _names(disabled):
        return "named in FEDTRACK_DISABLE_PLUGINS"
    allowed = os.environ.get("FEDTRACK_PLUGINS")
    if allowed is not None and name not in _names(allowed):
        return "not named in FEDTRACK_PLUGINS"
    return ""


def _names(value: str) -> set[str]:
    return {name.strip() for name in value.split(",") if name.strip()}


def _incompatible(distribution: Distribution) -> str:
    """Say which core the plugin declares, if it is not this one: pip cannot protect an extra's pair later."""
    needed = [line for line in distribution.requires or () if _REQUIRES_CORE.match(line)]
    if not needed:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        current = version("fedtrack")
        for requirement in map(Requirement, needed):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            if not requirement.specifier.contains(current, prereleases=True):
                return f"needs fedtrack{requirement.specifier}, this is fedtrack {current}"
    except PackageNotFoundError:  # run from a source tree: there is no version to compare with
        return ""
    except InvalidRequirement as error:
        return f"its requirement on fedtrack cannot be read: {error}"
    return ""


def unload() -> None:
    """Forget the loaded plugins, so that the next ``registry()`` looks again (for tests and long sessions)."""
    registry.cache_clear()
