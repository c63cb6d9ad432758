"""LoadedJob: a job that was read from its folder and checked, ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedtrack.job.components import ClientAppRunner, IntimeModelSelector, ScriptRunner, ValidationJsonGenerator
from fedtrack.job.config import Meta
from fedtrack.job.facts import facts_of
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.receiver import Receiver


@dataclass(frozen=True)
class LoadedSite:
    """The job's settings for one site.

    Attributes:
        name: The site's name.
        custom: Folder with its script and files.
        script: The training script in that folder.
        script_args: The script's arguments, split into words.
        runner: The settings of the script, if the site has a process of its own.
        client_app: The settings of the functions, if workers do the site's work; None otherwise.
        streams_to_server: Whether its events are sent to the server.
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
        folder: The folder from which it was read.
        meta: The settings of the job as a whole.
        workflows: The workflows by id, in the order in which they run; each one is checked against the sites.
        receivers: The server's receivers by id.
        selector: The model selector's arguments, or None.
        results_json: The file for the results of cross-site evaluation, or None.
        initial_model: The file with the parameters of round 0, or None.
        sites: The sites, in the job's order.
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
        """The settings of the functions of all sites; None if every site has a script."""
        return self.sites[0].client_app

    @property
    def facts(self) -> dict[str, str | int]:
        """What the job says of itself: rounds, workflows, aggregators and the hash of its files."""
        return facts_of(self.workflows.values(), self.folder)

    def script_config(self, site: LoadedSite, name: str) -> dict[str, Any]:
        """Return the value of ``fedtrack.client.get_config`` for the script of ``site``, under the name ``name``."""
        numbers = {item.name: number for number, item in enumerate(self.sites)}
        config = {"site_name": name, "script": site.script.name, "script_args": site.runner.script_args}
        known = {"site_index": numbers[name], "n_sites": len(numbers)} if name in numbers else {}
        return config | known
