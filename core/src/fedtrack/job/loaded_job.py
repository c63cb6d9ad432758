"""LoadedJob: a job as it was read from its folder, checked and ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedtrack.job.components import ClientAppRunner, IntimeModelSelector, ScriptRunner, ValidationJsonGenerator
from fedtrack.job.config import Meta
from fedtrack.plugins.workflow import Workflow
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
