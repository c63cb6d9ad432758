"""Named items: the workflows and components of a job are built from its files.

The error for a wrong name or argument contains its place in the file.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ConfigError, PluginError
from fedtrack.job.components import ALIASES, COMPONENTS, Component, Runner
from fedtrack.job.config import ComponentConfig
from fedtrack.job.operator_rules import OperatorRules
from fedtrack.job.paths import check_place
from fedtrack.job.resolved_receiver import built_receiver
from fedtrack.job.values import check_name, check_unique
from fedtrack.job.workflows import workflow_class
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT
from fedtrack.tracking.receiver import Receiver

log = logging.getLogger(__name__)

#: Ends of the names of receivers' arguments that name a place.
_PLACES = ("folder", "dir", "location", "path", "file", "uri", "url")


def workflows_of(path: Path, items: list[ComponentConfig]) -> dict[str, Workflow]:
    """Return the workflows by id, in the order in which they run.

    Raises:
        ConfigError: There is no workflow, an id is used twice, or a name or an argument is wrong.
    """
    found: dict[str, Workflow] = {}
    for index, item in enumerate(items):
        where = f"$.workflows[{index}]"
        _check_id(path, where, item.id)
        if item.id in found:
            raise ConfigError(f"{path}: {where}.id: {item.id!r} is used twice; ids of workflows are unique.")
        try:
            cls = workflow_class(item.path)
        except PluginError as error:
            raise ConfigError(f"{path}: {where}.path: {error}") from None
        found[item.id] = _filled(path, where, item.path, cls, item.args)
    if not found:
        raise ConfigError(f"{path}: $.workflows is empty; name one, such as FedAvg.")
    return found


def components_of(
    path: Path, items: list[ComponentConfig], own_event: str, *, build: bool
) -> dict[str, Component | Receiver]:
    """Return the components of a node by id.

    Args:
        path: The file that names them.
        items: The components in the file.
        own_event: The name of the node's events.
        build: Whether to build receivers, too; otherwise they are left out.

    Raises:
        ConfigError: An id is used twice, or a name or an argument is wrong.
    """
    found: dict[str, Component | Receiver] = {}
    for index, item in enumerate(items):
        where = f"$.components[{index}]"
        _check_id(path, where, item.id)
        if item.id in found:
            raise ConfigError(f"{path}: {where}.id: {item.id!r} is used twice; ids are unique in a node.")
        if ALIASES.get(item.path, item.path) in COMPONENTS:
            found[item.id] = _component(path, where, item, own_event)
        elif build:
            found[item.id] = _apart(path, where, item.id, _receiver(path, where, item, own_event), found)
    return found


def _apart(
    path: Path, where: str, id_: str, receiver: Receiver, others: Mapping[str, Component | Receiver]
) -> Receiver:
    """Return ``receiver``, or one with a folder of its own if another one of the node would write to the same place.

    Two receivers in one folder would write every record twice, and read each other's files when they are resumed.
    """
    twin = next((known for known, other in others.items() if _same_place(receiver, other)), None)
    if twin is None:
        return receiver
    name, options = receiver.folder_argument, receiver.options
    default = getattr(type(options)(), name) if name else None
    if default is None or getattr(options, name) != default:
        raise ConfigError(
            f"{path}: {where}: {id_!r} has the arguments of {twin!r}, and both would write to the same place; give it "
            "others, or remove one of them."
        )
    arguments = {field: getattr(options, field) for field in type(options).__struct_fields__}
    apart = type(receiver)(**arguments | {name: f"{default}-{id_}"})
    apart.arguments_as_written = {**(receiver.arguments_as_written or {}), name: f"{default}-{id_}"}
    return apart


def _same_place(one: Receiver, other: Component | Receiver) -> bool:
    """Return whether two receivers differ in nothing but the events that they listen to."""
    if type(one) is not type(other):
        return False
    fields = set(type(one.options).__struct_fields__) - {"events"}
    return all(getattr(one.options, field) == getattr(other.options, field) for field in fields)


def _component(path: Path, where: str, item: ComponentConfig, own_event: str) -> Component:
    found: Component = structure(path, where, item.path, item.args, COMPONENTS)
    if isinstance(found, Runner):
        raise ConfigError(f"{path}: {where}.path: a {type(found).__name__} is no component; it goes to $.executors.")
    node = "site" if own_event == LOCAL_EVENT else "server"
    if found.node != node:
        place = "the sites" if found.node == "site" else "the server"
        raise ConfigError(
            f"{path}: {where}.path: a {type(found).__name__} has no effect here; it belongs to the components of "
            f"{place}, remove it."
        )
    return found


def _check_id(path: Path, where: str, id_: str) -> None:
    try:
        check_name(f"{where}.id", id_)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _check_places(where: str, args: Mapping[str, Any]) -> None:
    """Check the arguments of a receiver that name a place."""
    for name, value in args.items():
        if isinstance(value, str) and name.endswith(_PLACES):
            check_place(f"{where}.{name}", value)


def _receiver(path: Path, where: str, item: ComponentConfig, own_event: str) -> Receiver:
    try:
        registry().receiver(item.path)
    except PluginError as error:
        known = ", ".join(sorted(COMPONENTS))
        raise ConfigError(f"{path}: {where}.path: {error} Components of core: {known}.") from None
    try:
        receiver = built_receiver(item.path, item.args, "args", OperatorRules.of_this_node())
    except ConfigError as error:
        raise ConfigError(f"{path}: {where}.{error}") from None
    _check_places(f"{path}: {where}.args", {name: getattr(receiver.options, name) for name in item.args})
    if receiver.options.events is not None:
        check_unique(f"{path}: {where}.args.events", receiver.options.events, "an event")
    for event in receiver.options.events or ():
        if event not in (LOCAL_EVENT, FED_EVENT):
            raise ConfigError(
                f"{path}: {where}.args.events: {event!r} does not exist; valid are {LOCAL_EVENT!r} and {FED_EVENT!r}."
            )
    if receiver.options.events is not None and own_event == LOCAL_EVENT and LOCAL_EVENT not in receiver.options.events:
        raise ConfigError(
            f"{path}: {where}.args.events: at a site events are called {LOCAL_EVENT!r}; "
            f"{receiver.options.events} would never see one."
        )
    return receiver


def structure(path: Path, where: str, name: str, args: dict[str, Any], table: Mapping[str, type[Any]]) -> Any:
    """Build the item of ``table`` that is called ``name``, with ``args``.

    Raises:
        ConfigError: There is no such item, or an argument is wrong; the message begins with ``path`` and ``where``.
    """
    cls = table.get(ALIASES.get(name, name))
    if cls is None:
        raise ConfigError(f"{path}: {where}.path: {name!r} is unknown; valid are {', '.join(sorted(table))}.")
    return _filled(path, where, name, cls, args)


def _filled(path: Path, where: str, name: str, cls: type[Any], args: dict[str, Any]) -> Any:
    try:
        found = msgspec.convert(args, cls)
    except (msgspec.ValidationError, ConfigError) as error:
        fields = ", ".join(cls.__struct_fields__)
        raise ConfigError(f"{path}: {where}.args: {error}; valid arguments of {cls.__name__}: {fields}.") from None
    _check_ignored(path, where, name, found, args)
    return found


def _check_ignored(path: Path, where: str, name: str, item: Any, args: dict[str, Any]) -> None:
    """Refuse arguments that change nothing, or warn of them if FLARE has written the file."""
    for argument in item.ignored & args.keys():
        if args[argument] == getattr(type(item)(), argument):
            continue
        problem = f"{path}: {where}.args.{argument} has no effect in fedtrack"
        if name not in ALIASES:
            raise ConfigError(f"{problem}; remove it.")
        log.warning("%s.", problem)


def only(path: Path, components: Mapping[str, Component | Receiver], cls: type[Any]) -> Any:
    """Return the only component of that class, or None.

    Raises:
        ConfigError: There are several of them.
    """
    found = [id_ for id_, item in components.items() if isinstance(item, cls)]
    if len(found) > 1:
        raise ConfigError(f"{path}: $.components has {len(found)} {cls.__name__} ({', '.join(found)}); keep one.")
    return components[found[0]] if found else None
