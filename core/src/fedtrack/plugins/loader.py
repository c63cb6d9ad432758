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

from fedtrack.errors import PluginError
from fedtrack.plugins import hookspecs
from fedtrack.plugins.compatibility import why_incompatible
from fedtrack.plugins.markers import PROJECT
from fedtrack.plugins.metadata import package_of
from fedtrack.plugins.plugin_registry import KINDS_PROVIDED, Plugin, Registry, State
from fedtrack.plugins.workflow import Workflow, check_executable
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.writer import Writer

log = logging.getLogger(__name__)

#: Interface numbers (``Receiver.api``, ``Writer.api``) that this version of the core serves.
SUPPORTED_APIS = (1,)


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


class _OtherApiError(Exception):
    """A class was written for an interface that this core does not serve."""


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
        with _silent():
            module = entry_point.load()
            found.hooks.register(module, plugin.name)
            found.hooks.check_pending()
            _register_all(found, plugin, module)
    except ModuleNotFoundError as error:
        needed = f"importing it needs the module {error.name!r}"
        plugin.fail(State.MISSING_DEPENDENCY, needed, _repair(plugin))
    except _OtherApiError as error:
        plugin.fail(State.INCOMPATIBLE, str(error), _newer_pair(plugin))
    except (Exception, SystemExit) as error:
        plugin.fail(State.FAILED, f"{type(error).__name__}: {error}", _repair(plugin))
    if plugin.state is not State.LOADED:
        _withdraw(found, plugin)


def _register_all(found: Registry, plugin: Plugin, module: Any) -> None:
    bases = {"receiver": Receiver, "writer": Writer, "workflow": Workflow}
    provided = [(kind, item) for kind in KINDS_PROVIDED for item in _provided(found, module, f"fedtrack_{kind}s")]
    for kind, item in provided:
        _validate(kind, item, bases.get(kind))
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
    if base is Workflow:
        check_executable(item)  # its fields are checked when a job names it
        return
    shown = getattr(item, "__name__", repr(item))
    if kind == "engine" and not isinstance(item, type):
        raise TypeError(f"fedtrack_engines returned {item!r}, which is no class")
    for attribute in ("name", "summary"):
        if not isinstance(getattr(item, attribute, None), str):
            raise TypeError(f"{shown}.{attribute} is missing; it must be a str")
    if kind == "aggregator":
        _validate_aggregator(item, shown)
    if base is Receiver and not isinstance(getattr(item, "supports", None), frozenset):
        raise TypeError(f"{shown}.supports is missing; it must be a frozenset of record classes")
    if base is not None and item.api not in SUPPORTED_APIS:
        served = ", ".join(map(str, SUPPORTED_APIS))
        raise _OtherApiError(f"{shown} is written for api {item.api}, this core serves {served}")


def _validate_aggregator(item: Any, shown: str) -> None:
    """Check that ``item`` makes aggregators: it is a class, or replaces one that listings must not import."""
    if not callable(item):
        raise TypeError(f"fedtrack_aggregators returned {item!r}; return the class, not an instance")
    if isinstance(item, type):
        missing = {name for name in ("accept", "result") if not callable(getattr(item, name, None))}
        for name in sorted(missing | set(getattr(item, "__abstractmethods__", ()))):
            raise TypeError(f"{shown}.{name}() is missing; an aggregator has the methods accept and result")


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
