"""Loader: installed plugins are found, and each is loaded behind a guard.

A plugin that cannot be used has a state and a reason; it raises no exception, and only a job that needs it fails.
pluggy's own loader stops at the first plugin that raises, so the entry points are loaded here one by one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

import pluggy

from fedtrack.deadline import OutOfTime, deadline
from fedtrack.errors import PluginError
from fedtrack.failure import failure_of, located
from fedtrack.plugins import hookspecs
from fedtrack.plugins.checks import OtherApiError, check_provided, returned_list
from fedtrack.plugins.compatibility import why_incompatible
from fedtrack.plugins.markers import PROJECT
from fedtrack.plugins.metadata import package_of
from fedtrack.plugins.plugin_registry import KINDS_PROVIDED, Plugin, Registry, State

log = logging.getLogger(__name__)

#: Seconds that a plugin may take to be imported and to say what it provides.
LOAD_SECONDS = 20.0


@cache
def registry() -> Registry:
    """Load every installed plugin once and return what they provide.

    Raises:
        PluginError: Only with ``FEDTRACK_STRICT_PLUGINS=1``, if a plugin could not be loaded.
    """
    loaded = load(_entry_points())
    broken = [p for p in loaded.plugins if p.state not in (State.LOADED, State.DISABLED)]
    if broken and os.environ.get("FEDTRACK_STRICT_PLUGINS", "") not in ("", "0"):
        raise PluginError(f"FEDTRACK_STRICT_PLUGINS is set, and the plugin {broken[0].complaint()}.")
    return loaded


def load(entry_points: Iterable[tuple[EntryPoint, Distribution]]) -> Registry:
    """Load the given entry points, each behind its own guard."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    found = Registry(manager)
    for entry_point, distribution in sorted(entry_points, key=lambda pair: pair[0].name):
        package = package_of(distribution)
        plugin = Plugin(
            entry_point.name,
            package.name or "a distribution without a name",
            package.version or "without a version",
            summary=package.summary,
        )
        same = [p for p in found.plugins if p.name == plugin.name and p.state in (State.LOADED, State.CONFLICT)]
        found.plugins.append(plugin)
        if reason := _disabled(plugin.name):
            plugin.fail(State.DISABLED, *reason)
        elif needs := why_incompatible(package.requires):
            plugin.fail(State.INCOMPATIBLE, needs, _newer_pair(plugin))
        elif same:
            _conflict(found, [*same, plugin], f"provide a plugin called {plugin.name!r}")
        else:
            _load_one(found, plugin, entry_point)
    return found


def _newer_pair(plugin: Plugin) -> str:
    """Return the command that searches for versions of core and plugin that fit each other."""
    from fedtrack.plugins import remedy  # only for a broken plugin: a listing must be quick

    return remedy.install("fedtrack", plugin.package, upgrade=True)


def _repair(plugin: Plugin) -> str:
    from fedtrack.plugins import remedy

    return remedy.repair(plugin.package)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Discard what plugins print, in the main thread only.

    ``sys.stdout`` belongs to all threads. Two that replace it at the same time would restore it in the wrong order, and
    the last one would leave it discarded for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _load_one(found: Registry, plugin: Plugin, entry_point: EntryPoint) -> None:
    try:
        # A plugin that prints would break --json listings; one that exits would end the CLI.
        with _silent(), deadline(LOAD_SECONDS):
            module = entry_point.load()
            found.hooks.register(module, plugin.name)
            found.hooks.check_pending()
            _register_all(found, plugin, module)
    except ModuleNotFoundError as error:
        place = failure_of(error, entry_point.module).location
        needed = f"importing it needs the module {error.name!r}{f' ({place})' if place else ''}"
        plugin.fail(State.MISSING_DEPENDENCY, needed, _repair(plugin))
    except OtherApiError as error:
        plugin.fail(State.INCOMPATIBLE, str(error), _newer_pair(plugin))
    except OutOfTime as error:
        place = failure_of(error, entry_point.module).location
        plugin.fail(State.FAILED, f"{error} to load{f' ({place})' if place else ''}", _repair(plugin))
    except pluggy.PluginValidationError as error:  # of several lines, and the first one says little
        plugin.fail(State.FAILED, " ".join(f"PluginValidationError: {error}".split()), _repair(plugin))
    except KeyboardInterrupt:
        raise  # the user's Ctrl-C
    except BaseException as error:  # sys.exit(), or an exception of its own that derives from BaseException
        plugin.fail(State.FAILED, located(error, entry_point.module), _repair(plugin))
    if plugin.state is not State.LOADED:
        _withdraw(found, plugin)


def _register_all(found: Registry, plugin: Plugin, module: Any) -> None:
    provided = [(kind, item) for kind in KINDS_PROVIDED for item in _provided(found, module, f"fedtrack_{kind}s")]
    for kind, item in provided:
        check_provided(kind, item)
    for kind, item in provided:
        _register(found, plugin, kind, item)


def _provided(found: Registry, module: Any, hook: str) -> list[Any]:
    others = [p for p in found.hooks.get_plugins() if p is not module]
    return returned_list(hook, found.hooks.subset_hook_caller(hook, others)())


def _register(found: Registry, plugin: Plugin, kind: str, item: Any) -> None:
    name = item.__name__ if kind == "workflow" else item.name
    other = found.owners.get((kind, name))
    if other is None:
        found.table(kind)[name] = item
        found.owners[kind, name] = plugin
        return
    if other is plugin:
        raise TypeError(f"it provides two {kind}s called {name!r}")
    _conflict(found, [other, plugin], f"provide a {kind} called {name!r}")


def _conflict(found: Registry, plugins: list[Plugin], what: str) -> None:
    """Disable all plugins with the same name, so that the order of installation does not decide."""
    packages = " and ".join(plugin.package for plugin in plugins)
    from fedtrack.plugins import remedy

    commands = " or ".join(remedy.uninstall(plugin.package) for plugin in plugins)
    for plugin in plugins:
        if plugin.state is State.LOADED:
            plugin.fail(State.CONFLICT, f"both {packages} {what}", commands)
            _withdraw(found, plugin)


def _withdraw(found: Registry, plugin: Plugin) -> None:
    """Remove everything that a plugin registered: its hooks, its classes, its examples."""
    if found.hooks.has_plugin(plugin.name):
        found.hooks.unregister(name=plugin.name)
    for kind, name in [owned for owned, owner in found.owners.items() if owner is plugin]:
        found.table(kind).pop(name, None)
        if plugin.state is not State.CONFLICT:  # after a conflict, a third plugin of that name is disabled too
            del found.owners[kind, name]


def _entry_points() -> list[tuple[EntryPoint, Distribution]]:
    found: dict[tuple[str, str], tuple[EntryPoint, Distribution]] = {}
    for distribution in distributions():
        try:
            # Most distributions are not plugins, and parsing a file takes ten times as long as searching in it.
            if f"[{PROJECT}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            entry_points = distribution.entry_points
        except Exception as error:  # one damaged file must not hide every plugin
            log.warning("%s: its entry points cannot be read: %s", package_of(distribution).name, error)
            continue
        for entry_point in entry_points:
            if entry_point.group == PROJECT:
                # An import uses the first one on sys.path.
                found.setdefault((package_of(distribution).name, entry_point.name), (entry_point, distribution))
    return list(found.values())


def _disabled(name: str) -> tuple[str, str] | None:
    """Return why the environment disables a plugin, and the remedy."""
    disabled = _names(os.environ.get("FEDTRACK_DISABLE_PLUGINS", ""))
    if name in disabled:
        others = ",".join(sorted(disabled - {name}))
        return "named in FEDTRACK_DISABLE_PLUGINS", f"export FEDTRACK_DISABLE_PLUGINS={others}"
    allowed = os.environ.get("FEDTRACK_PLUGINS")
    if allowed is not None and name not in _names(allowed):
        return "not named in FEDTRACK_PLUGINS", f"export FEDTRACK_PLUGINS={','.join(filter(None, (allowed, name)))}"
    return None


def _names(value: str) -> set[str]:
    return {name.strip() for name in value.split(",") if name.strip()}


def unload() -> None:
    """Forget the loaded plugins, so that the next ``registry()`` loads them again (for tests and long sessions)."""
    registry.cache_clear()
