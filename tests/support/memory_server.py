"""A server in memory: what a workflow asks of it is answered at once, and what is said to it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedtrack.client.fl_model import FLModel
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import RunInfo
from fedtrack_local.models.model_store import ModelStore
from fedtrack_local.workflows.cross_site_results import CrossSiteResults
from fedtrack_local.workflows.model_selector import ModelSelector
from fedtrack_local.workflows.state import WorkflowState
from fedtrack_local.workflows.workflow import Answer, RoundResult, Task

Script = Callable[[str, Task], FLModel | None]


class MemoryServer:
    """Answers for its sites in reverse order; a script that returns None does not answer."""

    def __init__(self, folder: Path, script: Script, sites: int = 2) -> None:
        names = tuple(f"site-{n}" for n in range(1, sites + 1))
        self.run = RunInfo(
            run_id="r",
            job_name="j",
            folder=folder,
            node="server",
            sites=names,
            started_ns=0,
            blobs=BlobStore(folder / "blobs"),
        )
        self.models = ModelStore(folder / "app_server")
        self.selector: ModelSelector | None = None
        self.rounds: list[RoundResult] = []
        self.final_metrics: dict[str, float] = {}
        self.first_round = 0
        self.next_round = 0
        self.state = WorkflowState(folder / "states.msgpack")
        self.cross_site: CrossSiteResults = {}
        self.cross_site_file: Path | None = folder / "results" / "all.json"
        self.initial: Mapping[str, Any] | None = None
        self.asked: list[tuple[Task, list[str]]] = []
        self.logged: list[tuple[dict[str, float], int | None]] = []
        self.rejected: dict[str, str] = {}
        self.notified: list[tuple[str, dict[str, Any]]] = []
        self._script = script

    def sites(self) -> list[str]:
        return [site for site in self.run.sites if site not in self.rejected]

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer]:
        self.asked.append((task, list(sites)))
        for site in reversed(sites):
            model = self._script(site, task)
            if model is not None:
                yield Answer(site, model, 100)

    def reject(self, site: str, error: Exception) -> None:
        self.rejected[site] = str(error)

    def initial_params(self) -> Mapping[str, Any] | None:
        stored = self.models.load()
        return self.initial if stored is None else stored.params

    def own_folder(self, name: str) -> Path:
        return self.run.folder / name

    def finish_round(self, result: RoundResult) -> None:
        self.rounds.append(result)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None) -> None:
        self.logged.append((dict(metrics), step))

    def notify(self, hook: str, **arguments: Any) -> None:
        self.notified.append((hook, arguments))
