"""Reads an exported job back and checks everything that can be checked before anything is started."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ConfigError, PluginError
from fedtrack.job.components import (
    ALIASES,
    COMPONENTS,
    RUNNERS,
    ClientAppRunner,
    Component,
    ConvertToFedEvent,
    IntimeModelSelector,
    ModelPersistor,
    Runner,
    ScriptRunner,
    ValidationJsonGenerator,
)
from fedtrack.job.config import (
    CLIENT_FILE,
    META_FILE,
    SERVER_FILE,
    ClientConfig,
    ComponentConfig,
    Meta,
    ServerConfig,
    read_json,
    refuse_secrets,
    resolve_references,
)
from fedtrack.job.cross_site_eval import CrossSiteEval
from fedtrack.job.workflows import workflow_classes
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT, SERVER
from fedtrack.tracking.receiver import Receiver


@dataclass(frozen=True)
class LoadedSite:
    """What a job wants of one site.

    Attributes:
        name: The site.
        custom: Folder with its script and files.
        script: The training script in it.
        script_args: Split into words.
        runner: How the script is run in a process for this site.
        client_app: How its functions are run in processes that work for all sites; None if ``runner`` counts.
        streams_to_server: Whether its events cross to the server.
        receivers: Receivers that this site hosts, by id.
    """

    name: str
    custom: Path
    script: Path
    script_args: list[str]
    runner: ScriptRunner
    client_app: ClientAppRunner | None
    streams_to_server: bool
    receivers: dict[str, Receiver]


@dataclass(frozen=True)
class LoadedJob:
    """A job, checked and ready to run.

    Attributes:
        folder: Where it was read from.
        meta: What belongs to the job as a whole.
        workflows: By id, in the order in which they run; each one checked against the sites.
        receivers: The server's receivers by id.
        selector: The model selector's arguments, or None.
        results_json: Where cross-site evaluation writes its results, or None.
        initial_model: The file with the parameters of round 0, or None.
        sites: In the job's order.
    """

    folder: Path
    meta: Meta
    workflows: dict[str, Workflow]
    receivers: dict[str, Receiver]
    selector: IntimeModelSelector | None
    results_json: ValidationJsonGenerator | None
    initial_model: Path | None
    sites: list[LoadedSite]

    @property
    def client_app(self) -> ClientAppRunner | None:
        """How the functions of all sites are run; None if every site has a script."""
        return self.sites[0].client_app

    def script_config(self, site: LoadedSite, name: str) -> dict[str, Any]:
        """Return what ``fedtrack.client.get_config`` gives the script of ``site`` where the site is called ``name``."""
        numbers = {item.name: number for number, item in enumerate(self.sites)}
        config = {"site_name": name, "script": site.script.name, "script_args": site.runner.script_args}
        known = {"site_index": numbers[name], "n_sites": len(numbers)} if name in numbers else {}
        return config | known


def load_job(folder: Path, node: str | None = None) -> LoadedJob:
    """Read the job in ``folder``.

    Args:
        folder: An exported job.
        node: The node that reads it: only its receivers are built and its ``${ENV:NAME}`` resolved, because the
            others' plugins and variables are theirs. None stands for all nodes, as on one machine.

    Raises:
        ConfigError: A file, a name or an argument is wrong; the message says where and what is valid.
        PluginError: A receiver's plugin is missing or broken.
    """
    if folder.is_file():
        raise ConfigError(
            f"{folder} is a file and no job's folder; if it builds a job, run it (python {folder.name}), "
            "or export the job and name that folder."
        )
    meta = read_json(folder / META_FILE, Meta)
    apps = {node: folder / app for app, nodes in meta.deploy_map.items() for node in nodes}
    if SERVER not in apps:
        raise ConfigError(
            f'{folder / META_FILE}: $.deploy_map names no app for \'server\'; add "app_server": ["server"].'
        )
    path = apps[SERVER] / SERVER_FILE
    config = read_json(path, ServerConfig)
    _refuse_filters(path, config)
    components = _components(path, config.components, FED_EVENT, build=node in (None, SERVER))
    workflows = _workflows(path, config.workflows)
    sites = _sites({name: app for name, app in apps.items() if name != SERVER}, node)
    if not sites:
        raise ConfigError(f'{folder / META_FILE}: $.deploy_map names no site; add "app_site-1": ["site-1"].')
    _check_client_app(folder, sites, components, workflows)
    for id_, workflow in workflows.items():
        try:
            workflow.check([site.name for site in sites])
        except ConfigError as error:
            raise ConfigError(f"{path}: the workflow {id_!r}: {error}") from None
    return LoadedJob(
        folder,
        meta,
        workflows,
        {id_: item for id_, item in components.items() if isinstance(item, Receiver)},
        _only(path, components, IntimeModelSelector),
        _only(path, components, ValidationJsonGenerator),
        _initial_model(path, apps[SERVER] / "custom", components),
        sites,
    )


def _sites(apps: dict[str, Path], node: str | None) -> list[LoadedSite]:
    """Read the sites; those that share an app and have no receivers of their own are read once."""
    known: dict[Path, LoadedSite] = {}
    found: list[LoadedSite] = []
    for name, app in apps.items():
        if app not in known or known[app].receivers or node is not None:
            known[app] = _site(name, app, build=node in (None, name))
        found.append(replace(known[app], name=name))
    return found


def _check_client_app(
    folder: Path,
    sites: list[LoadedSite],
    components: dict[str, Component | Receiver],
    workflows: dict[str, Workflow],
) -> None:
    """Refuse what processes that work for many sites cannot do."""
    hosted = [site for site in sites if site.client_app is not None]
    if not hosted:
        return
    first = hosted[0]
    other = next((site for site in sites if (site.custom, site.client_app) != (first.custom, first.client_app)), None)
    if other is not None:
        raise ConfigError(
            f"{folder / META_FILE}: $.deploy_map gives {other.name!r} another app than {first.name!r}; "
            "with ClientAppRunner all sites share one."
        )
    if first.receivers:
        raise ConfigError(
            f"{first.custom.parent / CLIENT_FILE}: the receiver {next(iter(first.receivers))!r} is placed at the "
            "sites; with ClientAppRunner receivers run on the server."
        )
    for id_, item in workflows.items():
        if isinstance(item, CrossSiteEval) and item.submit_model_task_name:
            raise ConfigError(
                f"{folder}: the workflow {id_!r} asks every site for a model of its own, which those of a "
                "ClientAppRunner do not have; use CrossSiteEval(submit_model_task_name='')."
            )
    persistor = _only(folder / SERVER_FILE, components, ModelPersistor)
    if persistor is None or persistor.initial_model is None:
        raise ConfigError(f"{folder}: the job has no initial model; with ClientAppRunner all sites begin with one.")


def _site(name: str, app: Path, *, build: bool) -> LoadedSite:
    path = app / CLIENT_FILE
    config = read_json(path, ClientConfig)
    _refuse_filters(path, config)
    if len(config.executors) != 1:
        raise ConfigError(f"{path}: $.executors has {len(config.executors)} entries; a site has exactly one.")
    executor = config.executors[0].executor
    where = "$.executors[0].executor"
    chosen: Runner = _structure(path, where, executor.path, executor.args, RUNNERS)
    client_app = chosen if isinstance(chosen, ClientAppRunner) else None
    runner = chosen if isinstance(chosen, ScriptRunner) else ScriptRunner(chosen.script, framework=chosen.framework)
    script = app / "custom" / runner.script
    if not script.resolve().is_relative_to((app / "custom").resolve()) or not script.is_file():
        raise ConfigError(f"{path}: {where}.args.script: {runner.script!r} is no file in {app / 'custom'}.")
    components = _components(path, config.components, LOCAL_EVENT, build=build)
    return LoadedSite(
        name,
        (app / "custom").resolve(),
        script.resolve(),
        shlex.split(runner.script_args),
        runner,
        client_app,
        any(isinstance(item, ConvertToFedEvent) for item in components.values()),
        {id_: item for id_, item in components.items() if isinstance(item, Receiver)},
    )


def _workflows(path: Path, items: list[ComponentConfig]) -> dict[str, Workflow]:
    found: dict[str, Workflow] = {}
    for index, item in enumerate(items):
        where = f"$.workflows[{index}]"
        if item.id in found:
            raise ConfigError(f"{path}: {where}.id: {item.id!r} is used twice; ids of workflows are unique.")
        found[item.id] = _structure(path, where, item.path, item.args, workflow_classes())
    if not found:
        raise ConfigError(f"{path}: $.workflows is empty; name one, such as FedAvg.")
    return found


def _components(
    path: Path, items: list[ComponentConfig], own_event: str, *, build: bool
) -> dict[str, Component | Receiver]:
    found: dict[str, Component | Receiver] = {}
    for index, item in enumerate(items):
        where = f"$.components[{index}]"
        if item.id in found:
            raise ConfigError(f"{path}: {where}.id: {item.id!r} is used twice; ids are unique in a node.")
        if ALIASES.get(item.path, item.path) in COMPONENTS:
            found[item.id] = _structure(path, where, item.path, item.args, COMPONENTS)
        elif build:
            found[item.id] = _receiver(path, where, item, own_event)
    return found


def _receiver(path: Path, where: str, item: ComponentConfig, own_event: str) -> Receiver:
    try:
        cls = registry().receiver(item.path)
    except PluginError as error:
        known = ", ".join(sorted(COMPONENTS))
        raise ConfigError(f"{path}: {where}.path: {error} Components of core: {known}.") from None
    refuse_secrets(item.args, f"{path}: {where}.args")
    args = resolve_references(item.args, dict(os.environ), f"{path}: {where}.args")
    try:
        receiver = cls(**args)
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"{path}: {where}.args: {error}") from None
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


def _structure(path: Path, where: str, name: str, args: dict[str, Any], table: dict[str, Any]) -> Any:
    cls = table.get(ALIASES.get(name, name))
    if cls is None:
        raise ConfigError(f"{path}: {where}.path: {name!r} is unknown; valid are {', '.join(sorted(table))}.")
    try:
        return msgspec.convert(args, cls)
    except (msgspec.ValidationError, ConfigError) as error:
        fields = ", ".join(cls.__struct_fields__)
        raise ConfigError(f"{path}: {where}.args: {error}; valid arguments of {cls.__name__}: {fields}.") from None


def _only(path: Path, components: dict[str, Component | Receiver], cls: type[Any]) -> Any:
    found = [id_ for id_, item in components.items() if isinstance(item, cls)]
    if len(found) > 1:
        raise ConfigError(f"{path}: $.components has {len(found)} {cls.__name__} ({', '.join(found)}); keep one.")
    return components[found[0]] if found else None


def _initial_model(path: Path, custom: Path, components: dict[str, Component | Receiver]) -> Path | None:
    persistor: ModelPersistor | None = _only(path, components, ModelPersistor)
    if persistor is None or persistor.initial_model is None:
        return None
    file = custom / persistor.initial_model
    if not file.resolve().is_relative_to(custom.resolve()) or not file.is_file():
        raise ConfigError(f"{path}: the initial model {persistor.initial_model!r} is no file in {custom}.")
    return file


def _refuse_filters(path: Path, config: ServerConfig | ClientConfig) -> None:
    for name in ("task_data_filters", "task_result_filters"):
        if getattr(config, name):
            raise ConfigError(f"{path}: $.{name} is not empty; fedtrack has no filters, remove its entries.")
