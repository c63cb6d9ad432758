"""Registry: the installed plugins, their classes, and the class for a name that a user typed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

from fedtrack.errors import PluginError
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.writer import Writer

if TYPE_CHECKING:
    from fedtrack.plugins.example import Example
    from fedtrack.plugins.workflow import Workflow

T = TypeVar("T", Receiver, Writer)

log = logging.getLogger(__name__)

#: The kinds of classes that plugins provide; the hook ``fedtrack_<kind>s`` returns them.
KINDS_PROVIDED = ("receiver", "writer", "engine", "workflow", "aggregator", "example")

#: The distributions that core's extra of that name installs.
_FIRST_PARTY = {
    *(("engine", name) for name in ("local", "nvflare")),
    *(("receiver", name) for name in ("mlflow", "tensorboard", "wandb")),
}


class State(StrEnum):
    """The state of a plugin."""

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
        package: The distribution of the plugin.
        version: The distribution's version.
        state: The state of the plugin.
        reason: Why it is not ``loaded``, or "".
        remedy: The command that would make it usable, or "".
        summary: The distribution's one-line description.
    """

    name: str
    package: str
    version: str
    state: State = State.LOADED
    reason: str = ""
    remedy: str = ""
    summary: str = ""

    def fail(self, state: State, reason: str, remedy: str = "") -> None:
        """Set a state other than loaded, its reason and the command that would repair it."""
        self.state = state
        self.reason = f"{self.package} {self.version}: {reason}"
        self.remedy = remedy

    def complaint(self) -> str:
        """Return the problem and its remedy, as the end of a sentence."""
        remedy = f"; to fix it: {self.remedy}" if self.remedy else ""
        return f"{self.name} is {self.state} ({self.reason}{remedy})"


@dataclass
class Registry:
    """The loaded plugins and what they provide.

    Attributes:
        plugins: Every plugin found, in any state, sorted by name.
        hooks: pluggy's manager, for calling the life-cycle hooks.
        receivers: Receiver classes by name.
        writers: Writer classes by name.
        engines: Engine classes by name.
        workflows: Workflow classes by the name of the class.
        aggregators: Aggregator classes by name; see ``fedtrack_local.Aggregator``.
        examples: Examples by name.
        owners: The plugin that provides a class or an example, by kind and name.
    """

    hooks: pluggy.PluginManager
    plugins: list[Plugin] = field(default_factory=list)
    receivers: dict[str, type[Receiver]] = field(default_factory=dict)
    writers: dict[str, type[Writer]] = field(default_factory=dict)
    engines: dict[str, Any] = field(default_factory=dict)
    workflows: dict[str, type[Workflow]] = field(default_factory=dict)
    aggregators: dict[str, Any] = field(default_factory=dict)
    examples: dict[str, Example] = field(default_factory=dict)
    owners: dict[tuple[str, str], Plugin] = field(default_factory=dict)

    def receiver(self, name: str) -> type[Receiver]:
        """Return the receiver class for ``name``, ready to be used; see ``find_receiver``.

        Raises:
            PluginError: There is no such receiver, or its SDK is not installed.
        """
        cls = self.find_receiver(name)
        self._check_requirements(cls)
        return cls

    def find_receiver(self, name: str) -> type[Receiver]:
        """Return the receiver class for ``name``: the receiver's name, its class name or one of its aliases.

        Raises:
            PluginError: No loaded plugin has a receiver of that name, or several have it as class name or alias; the
                message names the installed receivers and the broken plugins.
        """
        cls = self.receivers.get(name)
        if cls is None:
            cls = self._only("receiver", name, [c for c in self.receivers.values() if name in (c.__name__, *c.aliases)])
        if cls is None:
            raise self._unknown("receiver", name, self.receivers)
        return cls

    def writer(self, class_name: str) -> type[Writer]:
        """Return the writer with that name or class name.

        Raises:
            PluginError: No usable writer has that name, or several have it as class name.
        """
        cls = self.writers.get(class_name)
        if cls is None:
            cls = self._only("writer", class_name, [c for c in self.writers.values() if class_name == c.__name__])
        if cls is None:
            raise self._unknown("writer", class_name, self.writers)
        return cls

    def engine(self, name: str) -> Any:
        """Return the engine class with that name.

        Raises:
            PluginError: No installed plugin provides it.
        """
        if name in self.engines:
            return self.engines[name]
        raise self._unknown("engine", name, self.engines)

    def workflow(self, name: str) -> type[Workflow]:
        """Return the workflow class with that name.

        Raises:
            PluginError: No installed plugin provides it.
        """
        if name in self.workflows:
            return self.workflows[name]
        raise self._unknown("workflow", name, self.workflows)

    def aggregator(self, name: str) -> Any:
        """Return the aggregator class with that name.

        Raises:
            PluginError: No installed plugin provides it.
        """
        if name in self.aggregators:
            return self.aggregators[name]
        raise self._unknown("aggregator", name, self.aggregators)

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

        An error of an implementation is logged under its plugin's name, and the other plugins are nevertheless called.
        pluggy's own call would stop at the first error.
        """
        for implementation in getattr(self.hooks.hook, hook).get_hookimpls():
            accepted = {name: arguments[name] for name in implementation.argnames}
            try:
                implementation.function(**accepted)
            except (Exception, SystemExit) as error:
                log.error("plugin %s: %s raised %s: %s", implementation.plugin_name, hook, type(error).__name__, error)

    def hooks_of(self, plugin: Plugin) -> list[str]:
        """Return the names of the hooks that a plugin implements, except those that register."""
        if (module := self.hooks.get_plugin(plugin.name)) is None:
            return []
        registering = {f"fedtrack_{kind}s" for kind in KINDS_PROVIDED}
        return sorted({caller.name for caller in self.hooks.get_hookcallers(module) or ()} - registering)

    def packages(self) -> set[str]:
        """Return the top-level packages of the loaded plugins, under the names that a script imports."""
        # An entry point may name a module, or a class or an object in a module.
        names = [getattr(found, "__module__", "") or found.__name__ for found in self.hooks.get_plugins()]
        return {name.partition(".")[0] for name in names}

    def owner(self, kind: str, name: str) -> Plugin:
        """Return the plugin that provides the ``kind`` (``"receiver"``, ...) called ``name``."""
        return self.owners[kind, name]

    def table(self, kind: str) -> dict[str, Any]:
        """Return the classes of one ``kind`` (``"receiver"``, ...), by name."""
        tables: dict[str, dict[str, Any]] = {
            "receiver": self.receivers,
            "writer": self.writers,
            "engine": self.engines,
            "workflow": self.workflows,
            "aggregator": self.aggregators,
            "example": self.examples,
        }
        return tables[kind]

    def state_of(self, cls: type[Receiver]) -> tuple[State, str]:
        """Return the state of a registered receiver and the reason for it."""
        plugin = self.owners["receiver", cls.name]
        if missing := [module for module in cls.requires if find_spec(module) is None]:
            command = self.remedy_of(cls)
            how = f"; install it with: {command}" if command else ""
            return State.MISSING_DEPENDENCY, f"{plugin.package} needs {', '.join(missing)}{how}"
        return plugin.state, plugin.reason

    def remedy_of(self, cls: type[Receiver]) -> str:
        """Return the command that installs a receiver's SDK in this environment; "" if the receiver names none."""
        from fedtrack.plugins import remedy

        return remedy.adapted(cls.install)

    def _check_requirements(self, cls: type[Receiver]) -> None:
        state, reason = self.state_of(cls)
        if state is not State.LOADED:
            raise PluginError(f"The receiver {cls.name!r} cannot be used ({state}): {reason}.")

    def _only(self, kind: str, name: str, classes: Sequence[type[T]]) -> type[T] | None:
        if len(classes) < 2:
            return classes[0] if classes else None
        choices = ", ".join(f"{c.name!r} ({self.owner(kind, c.name).package})" for c in classes)
        raise PluginError(f"{name!r} means several {kind}s; use the name of one of them: {choices}.")

    def _unknown(self, kind: str, name: str, known: Iterable[str]) -> PluginError:
        broken = [p for p in self.plugins if p.state is not State.LOADED]
        if meant := [p for p in broken if name == p.name or self.owners.get((kind, name)) is p]:
            complaints = "; ".join(p.complaint() for p in meant)
            return PluginError(f"The {kind} {name!r} cannot be used: its plugin {complaints}.")
        names = ", ".join(sorted(known)) or "none"
        message = f"No {kind} is called {name!r}; installed: {names}."
        if (kind, name) in _FIRST_PARTY:
            from fedtrack.plugins import remedy

            message += f" To install it: {remedy.install(f'fedtrack[{name}]')}."
        if broken:
            message += f" Plugins that could not be used: {'; '.join(p.complaint() for p in broken)}."
        return PluginError(message)
