"""Finds installed plugins, loads each behind a guard, and resolves the names that users type.

A plugin that cannot be used is a state with a reason, never an exception: only a job that needs it fails.
pluggy's own loader stops at the first plugin that raises, so the entry points are loaded here one by one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pluggy

from fedtrack import hookspecs
from fedtrack.errors import PluginError
from fedtrack.markers import PROJECT
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.writer import Writer

if TYPE_CHECKING:
    from fedtrack.examples import Example

log = logging.getLogger(__name__)

#: Interface numbers (``Receiver.api``, ``Writer.api``) that this version of the core serves.
SUPPORTED_APIS = (1,)


class State(StrEnum):
    """What became of a plugin."""

    LOADED = "loaded"
    DISABLED = "disabled"
    INCOMPATIBLE = "incompatible"
    CONFLICT = "conflict"
    FAILED = "failed"
    MISSING_DEPENDENCY = "missing-dependency"


@dataclass
class Plugin:
    """One entry point of an installed distribution.

    Attributes:
        name: The entry point's name; ``FEDTRACK_DISABLE_PLUGINS`` and ``FEDTRACK_PLUGINS`` name it.
        package: The distribution that ships it.
        version: That distribution's version.
        state: What became of it.
        reason: Why it is not ``loaded``, or "".
    """

    name: str
    package: str
    version: str
    state: State = State.LOADED
    reason: str = ""

    def fail(self, state: State, reason: str) -> None:
        """Set a state other than loaded and the reason for it."""
        self.state = state
        self.reason = f"{self.package} {self.version}: {reason}"


@dataclass
class Registry:
    """The loaded plugins and what they provide.

    Attributes:
        plugins: Every plugin found, in whatever state, sorted by name.
        hooks: pluggy's manager, for calling the life-cycle hooks.
        receivers: Receiver classes by name.
        writers: Writer classes by name.
        engines: Engine classes by name.
        examples: Examples by name.
        owners: Which plugin provides a class or an example, by kind and name.
    """

    hooks: pluggy.PluginManager
    plugins: list[Plugin] = field(default_factory=list)
    receivers: dict[str, type[Receiver]] = field(default_factory=dict)
    writers: dict[str, type[Writer]] = field(default_factory=dict)
    engines: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)
    owners: dict[tuple[str, str], Plugin] = field(default_factory=dict)

    def receiver(self, name: str) -> type[Receiver]:
        """Return the receiver class that ``name`` means: its name, its class name or one of its aliases.

        Raises:
            PluginError: No usable receiver has that name; the message says which exist and what is broken.
        """
        for cls in self.receivers.values():
            if name in (cls.name, cls.__name__, *cls.aliases):
                self._check_requirements(cls)
                return cls
        raise self._unknown("receiver", name, self.receivers)

    def writer(self, class_name: str) -> type[Writer]:
        """Return the writer with that name or class name.

        Raises:
            PluginError: No usable writer has that name.
        """
        for cls in self.writers.values():
            if class_name in (cls.name, cls.__name__):
                return cls
        raise self._unknown("writer", class_name, self.writers)

    def engine(self, name: str) -> Any:
        """Return the engine class with that name.

        Raises:
            PluginError: No installed plugin provides it.
        """
        if name in self.engines:
            return self.engines[name]
        raise self._unknown("engine", name, self.engines)

    def example(self, name: str) -> Example:
        """Return the example with that name.

        Raises:
            PluginError: No installed plugin provides it.
        """
        if name in self.examples:
            return self.examples[name]
        raise self._unknown("example", name, self.examples)

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call a life-cycle hook of every plugin.

        A plugin whose implementation raises is logged by name; the others are called all the same, which is why
        this does not go through pluggy's own call.
        """
        for implementation in getattr(self.hooks.hook, hook).get_hookimpls():
            accepted = {name: arguments[name] for name in implementation.argnames}
            try:
                implementation.function(**accepted)
            except Exception as error:
                log.error("plugin %s: %s raised %s: %s", implementation.plugin_name, hook, type(error).__name__, error)

    def owner(self, kind: str, name: str) -> Plugin:
        """Return the plugin that provides the ``kind`` (``"receiver"``, ...) called ``name``."""
        return self.owners[kind, name]

    def state_of(self, cls: type[Receiver]) -> tuple[State, str]:
        """Return the state of a registered receiver and the reason for it."""
        plugin = self.owners["receiver", cls.name]
        if missing := [module for module in cls.requires if find_spec(module) is None]:
            remedy = f"; install it with: {cls.install}" if cls.install else ""
            return State.MISSING_DEPENDENCY, f"{plugin.package} needs {', '.join(missing)}{remedy}"
        return plugin.state, plugin.reason

    def _check_requirements(self, cls: type[Receiver]) -> None:
        state, reason = self.state_of(cls)
        if state is not State.LOADED:
            raise PluginError(f"The receiver {cls.name!r} cannot be used ({state}): {reason}.")

    def _unknown(self, kind: str, name: str, known: Iterable[str]) -> PluginError:
        names = ", ".join(sorted(known)) or "none"
        message = f"No {kind} is called {name!r}; installed: {names}."
        if broken := [p for p in self.plugins if p.state is not State.LOADED]:
            listed = "; ".join(f"{p.name} is {p.state} ({p.reason})" for p in broken)
            message += f" Plugins that could not be used: {listed}."
        return PluginError(message)


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
        plugin = Plugin(entry_point.name, distribution.name, distribution.version)
        found.plugins.append(plugin)
        if reason := _disabled(plugin.name):
            plugin.fail(State.DISABLED, reason)
        elif reason := _incompatible(distribution):
            plugin.fail(State.INCOMPATIBLE, reason)
        else:
            _load_one(found, plugin, entry_point)
    return found


def _load_one(found: Registry, plugin: Plugin, entry_point: EntryPoint) -> None:
    output = io.StringIO()
    try:
        # A module that prints at import would break --json listings; one that exits would end the CLI.
        with contextlib.redirect_stdout(output):
            module = entry_point.load()
        found.hooks.register(module, plugin.name)
        found.hooks.check_pending()
        _register_all(found, plugin, module)
    except ModuleNotFoundError as error:
        plugin.fail(State.MISSING_DEPENDENCY, f"importing it needs the module {error.name!r}")
    except (Exception, SystemExit) as error:
        plugin.fail(State.FAILED, f"{type(error).__name__}: {error}")
    if plugin.state is not State.LOADED and found.hooks.has_plugin(plugin.name):
        found.hooks.unregister(name=plugin.name)


def _register_all(found: Registry, plugin: Plugin, module: Any) -> None:
    provided: dict[str, tuple[list[Any], type | None, dict[str, Any]]] = {
        "receiver": (_provided(found, module, "fedtrack_receivers"), Receiver, found.receivers),
        "writer": (_provided(found, module, "fedtrack_writers"), Writer, found.writers),
        "engine": (_provided(found, module, "fedtrack_engines"), None, found.engines),
        "example": (_provided(found, module, "fedtrack_examples"), None, found.examples),
    }
    for kind, (items, base, _) in provided.items():
        for item in items:
            _validate(kind, item, base)
    for kind, (items, _, table) in provided.items():
        for item in items:
            _register(found, plugin, kind, item, table)


def _provided(found: Registry, module: Any, hook: str) -> list[Any]:
    others = [p for p in found.hooks.get_plugins() if p is not module]
    results = found.hooks.subset_hook_caller(hook, others)()
    return [item for result in results for item in result]


def _validate(kind: str, item: Any, base: type | None) -> None:
    if base is None:
        return
    if not (isinstance(item, type) and issubclass(item, base)):
        raise TypeError(f"fedtrack_{kind}s returned {item!r}, which is no subclass of {base.__name__}")
    for attribute in ("name", "summary"):
        if not isinstance(getattr(item, attribute, None), str):
            raise TypeError(f"{item.__name__}.{attribute} is missing; it must be a str")
    if item.api not in SUPPORTED_APIS:  # type: ignore[attr-defined]
        served = ", ".join(map(str, SUPPORTED_APIS))
        raise TypeError(f"{item.__name__} is written for api {item.api}, this core serves {served}")  # type: ignore[attr-defined]


def _register(found: Registry, plugin: Plugin, kind: str, item: Any, table: dict[str, Any]) -> None:
    other = found.owners.get((kind, item.name))
    if other is None:
        table[item.name] = item
        found.owners[kind, item.name] = plugin
        return
    table.pop(item.name, None)  # neither may win by being installed later
    reason = f"both {other.package} and {plugin.package} provide a {kind} called {item.name!r}; uninstall one"
    other.fail(State.CONFLICT, reason)
    plugin.fail(State.CONFLICT, reason)


def _entry_points() -> list[tuple[EntryPoint, Distribution]]:
    found: dict[tuple[str, str], tuple[EntryPoint, Distribution]] = {}
    for distribution in distributions():
        for entry_point in distribution.entry_points:
            if entry_point.group == PROJECT:
                # The first one on sys.path is the one that an import gets.
                found.setdefault((distribution.name, entry_point.name), (entry_point, distribution))
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
    needed = [line for line in distribution.requires or () if line.replace(" ", "").startswith("fedtrack")]
    if not needed:
        return ""
    from importlib.metadata import version

    from packaging.requirements import Requirement

    current = version("fedtrack")
    for line in needed:
        requirement = Requirement(line)
        if requirement.name == "fedtrack" and not requirement.specifier.contains(current, prereleases=True):
            return f"needs fedtrack{requirement.specifier}, this is fedtrack {current}"
    return ""


def unload() -> None:
    """Forget the loaded plugins, so that the next ``registry()`` looks again (for tests and long sessions)."""
    registry.cache_clear()
