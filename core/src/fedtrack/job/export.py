"""Export: a job is written as the folder from which every run starts.

::

    <root>/<name>/meta.json
    <root>/<name>/app_server/config/config_fed_server.json
    <root>/<name>/app_server/custom/initial_model.safetensors
    <root>/<name>/app_site-1/config/config_fed_client.json
    <root>/<name>/app_site-1/custom/client.py ...
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Collection
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from fedtrack.engine import LOCAL_ENGINE
from fedtrack.errors import ConfigError
from fedtrack.job.components import ClientAppRunner, ModelPersistor, Runner, ScriptRunner
from fedtrack.job.config import (
    CLIENT_FILE,
    FORMAT_VERSION,
    META_FILE,
    SERVER_FILE,
    ClientConfig,
    ComponentConfig,
    ExecutorComponent,
    ExecutorConfig,
    Meta,
    ServerConfig,
    write_json,
)
from fedtrack.job.files import find_file
from fedtrack.job.initial_model import INITIAL_MODEL_FILE, ModelWriter, named_model
from fedtrack.job.local_modules import local_modules
from fedtrack.job.placeable import Placeable, unused_id
from fedtrack.job.references import refuse_secrets
from fedtrack.job.values import ALL_SITES
from fedtrack.job.workflows import name_of
from fedtrack.partial_engine import open_engine
from fedtrack.plugins import registry
from fedtrack.plugins.workflow import Workflow
from fedtrack.private_folder import close_to_others, private_files
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver

if TYPE_CHECKING:
    from fedtrack.job.fed_job import FedJob


def export_job(job: FedJob, job_root: Path, write_model: ModelWriter | None = None) -> Path:
    """Write ``job`` to ``<job_root>/<name>``, replacing what is there, and return that folder.

    Args:
        job: The job.
        job_root: The folder for its folder.
        write_model: Writes the initial model; None means that the engine of this machine does.

    Raises:
        ConfigError: The job is incomplete or contains a secret, or a file that it needs is missing.
    """
    sites = job.sites()
    _check(job, sites)
    folder = job_root / job.name
    if folder.exists() and any(folder.iterdir()) and not (folder / META_FILE).exists():
        raise ConfigError(f"{folder} exists and is no exported job; move it away or choose another job root.")
    unfinished = job_root / f".{job.name}.{uuid4().hex}"
    try:
        with private_files():
            _write(job, sites, unfinished, write_model)
        close_to_others(unfinished)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except BaseException:  # also Ctrl-C while the model is built: half a job would be in the way of the next export
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def _write(job: FedJob, sites: list[str], folder: Path, write_model: ModelWriter | None) -> None:
    _write_server(job, folder / "app_server", write_model)
    apps = _apps(job, sites)
    for app, names in apps.items():
        _write_site(job, names[0], folder / app)
    deploy_map = {"app_server": [SERVER], **apps}
    meta = Meta(
        job.name,
        deploy_map,
        job.min_clients,
        job.mandatory_clients,
        job.idle_timeout,
        job.durability,
        job.spool_limit,
        view=job.view,
        policy=job.policy,
    )
    write_json(folder / META_FILE, meta)


def _apps(job: FedJob, sites: list[str]) -> dict[str, list[str]]:
    """Return the sites' app folders: one for each site, or one for thousands that run the same functions.

    There is also one for all sites if they have no names yet.
    """
    if not sites or any(isinstance(item, ClientAppRunner) for item in job.to_every_site.values()):
        return {"app_sites": sites or [ALL_SITES]}
    return {f"app_{site}": [site] for site in sites}


def _check(job: FedJob, sites: list[str]) -> None:
    if not any(isinstance(item, Workflow) for item in job.placed[SERVER].values()):
        raise ConfigError(f"The job {job.name!r} has no workflow; place one with job.to_server(FedAvg(...)).")
    if any(isinstance(item, ClientAppRunner) for item in job.to_every_site.values()):
        own = [site for site in sites if job.placed.get(site) or job.files.get(site)]
        if own:
            raise ConfigError(
                f"{own[0]} has something of its own, but ClientAppRunner treats all sites alike; "
                "use job.to_clients(...) for everything."
            )
    for site in sites or [ALL_SITES]:
        runners = [item for item in _site_items(job, site).values() if isinstance(item, Runner)]
        if len(runners) != 1:
            who, how = (site, f"job.to(ScriptRunner(...), {site!r})") if sites else ("The job", "job.to_clients(...)")
            raise ConfigError(f"{who} has {len(runners)} training scripts; place one with {how}.")
    if unknown := sorted(set(job.mandatory_clients) - set(sites)) if sites else []:
        raise ConfigError(f"mandatory_clients names {unknown[0]!r}, which is no site of the job: {sites}.")
    if sites and job.min_clients is not None and job.min_clients > len(sites):
        raise ConfigError(f"min_clients is {job.min_clients}, but the job has {len(sites)} sites.")


def _site_items(job: FedJob, site: str) -> dict[str, Placeable]:
    items = dict(job.placed.get(site, {}))
    has_script = any(isinstance(item, Runner) for item in items.values())
    for id_, item in job.to_every_site.items():
        if has_script and isinstance(item, Runner):
            continue  # a site's own script takes the place of the one for every site
        items[unused_id(id_, items)] = item
    return items


def _write_server(job: FedJob, folder: Path, write_model: ModelWriter | None) -> None:
    custom = folder / "custom"
    custom.mkdir(parents=True)
    workflows: list[ComponentConfig] = []
    components: list[ComponentConfig] = []
    for id_, item in job.placed[SERVER].items():
        if isinstance(item, ModelPersistor) and job.initial_model is not None and item.initial_model is None:
            write = write_model or open_engine(LOCAL_ENGINE).write_model
            write(named_model(job.initial_model), custom / INITIAL_MODEL_FILE)
            item = ModelPersistor(initial_model=INITIAL_MODEL_FILE)
        (workflows if isinstance(item, Workflow) else components).append(_component(id_, item))
    for path in job.files.get(SERVER, []):
        _copy(path, custom)
    config = ServerConfig(FORMAT_VERSION, workflows, components)
    refuse_secrets(msgspec.to_builtins(config), SERVER_FILE)
    write_json(folder / SERVER_FILE, config)


def _write_site(job: FedJob, site: str, folder: Path) -> None:
    custom = folder / "custom"
    custom.mkdir(parents=True)
    executors: list[ExecutorConfig] = []
    components: list[ComponentConfig] = []
    for id_, item in _site_items(job, site).items():
        if isinstance(item, Runner):
            executors.append(ExecutorConfig(_executor(item, custom)))
        else:
            components.append(_component(id_, item))
    for path in [*job.files.get("", []), *job.files.get(site, [])]:
        _copy(path, custom)
    config = ClientConfig(FORMAT_VERSION, executors, components)
    refuse_secrets(msgspec.to_builtins(config), f"{site}: {CLIENT_FILE}")
    write_json(folder / CLIENT_FILE, config)


def _executor(runner: Runner, custom: Path) -> ExecutorComponent:
    script = find_file(runner.script, "The training script")
    _copy(script, custom)
    for path in local_modules(script).values():
        _copy(path, custom)
    if isinstance(runner, ScriptRunner) and runner.launch_external_process:
        _copy_command_files(runner.command, custom)
    args = _arguments(runner, runner.ignored) | {"script": script.name}
    return ExecutorComponent(type(runner).__name__, args)


def _copy_command_files(command: str, custom: Path) -> None:
    """Copy what lies beside the job and a command names: files such as a wrapper script, and the package of ``-m``."""
    try:
        words = shlex.split(command)
    except ValueError:  # an open quote, which the loading of the job refuses
        return
    for before, word in pairwise(["", *words]):
        path = Path(word)
        if before == "-m":
            _copy_module(word, custom)
            continue
        if path.is_absolute() or ".." in path.parts:
            continue
        with contextlib.suppress(ConfigError):  # most words of a command are no files
            found = find_file(path, "The file")
            target = custom / path
            if found.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, target)


def _copy_module(name: str, custom: Path) -> None:
    """Copy the module, or the package with it, if it lies beside the job; most modules of a command are installed."""
    path = Path(*name.split("."))
    for file in (path.with_suffix(".py"), path / "__main__.py"):
        with contextlib.suppress(ConfigError):
            find_file(file, "The module")
            _copy(Path(file.parts[0]), custom)
            return


def _component(id_: str, item: Placeable) -> ComponentConfig:
    if isinstance(item, Receiver):
        return ComponentConfig(id_, item.name, _arguments(item.options))
    name = name_of(item)
    if name is None:
        raise ConfigError(_not_nameable(item))
    return ComponentConfig(id_, name, _arguments(item, item.ignored))


def _not_nameable(item: Placeable) -> str:
    name = type(item).__name__
    if not isinstance(item, Workflow):
        return f"A {name} cannot be exported: a job file names components of core, and this is none of them."
    return (
        f"The workflow {name} cannot be exported: a job file holds its name, and no installed plugin has a workflow "
        f"of that name and class (installed: {', '.join(sorted(registry().workflows)) or 'none'}); return the class "
        "from the hook fedtrack_workflows of an installed distribution: fedtrack plugins new NAME --kind workflow"
    )


def _arguments(struct: msgspec.Struct, without: Collection[str] = ()) -> dict[str, Any]:
    """Return every argument that a reader of the job could edit, whether or not it is the default."""
    values: dict[str, Any] = msgspec.to_builtins(struct)
    return {name: value for name, value in values.items() if name not in without}


def _copy(path: Path, folder: Path) -> None:
    found = find_file(path, "The file")
    target = folder / found.name
    if found.is_dir():
        shutil.copytree(found, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy2(found, target)
