"""Load: an exported job is read, and checked as far as possible before anything is started."""

from __future__ import annotations

import logging
import shlex
from dataclasses import replace
from pathlib import Path

from fedtrack.errors import ConfigError
from fedtrack.job.components import (
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
    Meta,
    ServerConfig,
    read_json,
)
from fedtrack.job.consistency import check_tasks, check_workflows, remarks
from fedtrack.job.job_tree import check_tree
from fedtrack.job.loaded_job import LoadedJob, LoadedSite
from fedtrack.job.named_items import components_of, only, structure, workflows_of
from fedtrack.job.shared_processes import check_client_app
from fedtrack.job.values import ALL_SITES
from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT, SERVER
from fedtrack.tracking.receiver import Receiver

__all__ = ["LoadedJob", "LoadedSite", "load_job"]

log = logging.getLogger(__name__)


def load_job(folder: Path, node: str | None = None) -> LoadedJob:
    """Read the job in ``folder``.

    Args:
        folder: An exported job.
        node: The node that reads it. Only its receivers are built and only its ``${ENV:NAME}`` are resolved, because
            the plugins and variables of other nodes are on their machines. None means all nodes, as on one machine.

    Raises:
        ConfigError: A file, a name or an argument is wrong; the message says where and what is valid.
        PluginError: A receiver's plugin is missing or broken.
    """
    if folder.is_file():
        raise ConfigError(
            f"{folder} is a file and no job's folder; if it builds a job, run it (python {folder.name}), "
            "or export the job and name that folder."
        )
    check_tree(folder)
    meta = read_json(folder / META_FILE, Meta)
    if meta.is_for_all_sites:
        raise ConfigError(
            f"{folder / META_FILE}: $.deploy_map has {ALL_SITES!r}, so the names of the sites are given when the job "
            f"is run: fedtrack run {folder} -n 2, or --clients site-1,site-2"
        )
    apps = {node: folder / app for app, nodes in meta.deploy_map.items() for node in nodes}
    path = apps[SERVER] / SERVER_FILE
    config = read_json(path, ServerConfig)
    _refuse_filters(path, config)
    components = components_of(path, config.components, FED_EVENT, build=node in (None, SERVER))
    for component in components.values():
        if isinstance(component, Receiver):
            component.check()
    workflows = workflows_of(path, config.workflows)
    tasks = frozenset().union(*(workflow.tasks() for workflow in workflows.values()))
    sites = _sites({name: app for name, app in apps.items() if name != SERVER}, node, tasks)
    check_client_app(folder, sites, components, workflows)
    check_workflows(path, workflows, [site.name for site in sites])
    for remark in remarks(workflows, components, sites):
        log.warning("%s: %s.", path, remark)
    return LoadedJob(
        folder,
        meta,
        workflows,
        {id_: item for id_, item in components.items() if isinstance(item, Receiver)},
        only(path, components, IntimeModelSelector),
        only(path, components, ValidationJsonGenerator),
        _initial_model(path, apps[SERVER] / "custom", components),
        sites,
    )


def _sites(apps: dict[str, Path], node: str | None, tasks: frozenset[str]) -> list[LoadedSite]:
    """Read the sites; sites that share an app and have no receivers of their own are read once."""
    known: dict[Path, LoadedSite] = {}
    found: list[LoadedSite] = []
    for name, app in apps.items():
        if app not in known or known[app].receivers or node is not None:
            known[app] = _site(name, app, tasks, build=node in (None, name))
        found.append(replace(known[app], name=name))
    return found


def _site(name: str, app: Path, tasks: frozenset[str], *, build: bool) -> LoadedSite:
    path = app / CLIENT_FILE
    config = read_json(path, ClientConfig)
    _refuse_filters(path, config)
    if len(config.executors) != 1:
        raise ConfigError(f"{path}: $.executors has {len(config.executors)} entries; a site has exactly one.")
    check_tasks(path, config.executors[0].tasks, tasks)
    executor = config.executors[0].executor
    where = "$.executors[0].executor"
    chosen: Runner = structure(path, where, executor.path, executor.args, RUNNERS)
    client_app = chosen if isinstance(chosen, ClientAppRunner) else None
    runner = chosen if isinstance(chosen, ScriptRunner) else ScriptRunner(chosen.script, framework=chosen.framework)
    script = app / "custom" / runner.script
    if not script.resolve().is_relative_to((app / "custom").resolve()) or not script.is_file():
        raise ConfigError(f"{path}: {where}.args.script: {runner.script!r} is no file in {app / 'custom'}.")
    components = components_of(path, config.components, LOCAL_EVENT, build=build)
    return LoadedSite(
        name,
        (app / "custom").resolve(),
        script.resolve(),
        shlex.split(runner.script_args),
        runner,
        client_app,
        only(path, components, ConvertToFedEvent) is not None,
        {id_: item for id_, item in components.items() if isinstance(item, Receiver)},
    )


def _initial_model(path: Path, custom: Path, components: dict[str, Component | Receiver]) -> Path | None:
    persistor: ModelPersistor | None = only(path, components, ModelPersistor)
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
