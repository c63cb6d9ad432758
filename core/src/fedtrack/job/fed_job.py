"""FedJob: builds a job in Python (FLARE's Job API, same names and defaults).

A job is only a description. Its export is the folder from which every run starts, also that of ``simulator_run``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from fedtrack.engine import LOCAL_ENGINE
from fedtrack.errors import ConfigError, FedtrackError
from fedtrack.job.components import ConvertToFedEvent, ModelPersistor, Runner
from fedtrack.job.keywords import checked_keywords
from fedtrack.job.placeable import Placeable, unused_id
from fedtrack.job.pt_model import PTModel
from fedtrack.job.values import check_count, check_name, check_seconds, checked_names
from fedtrack.partial_engine import open_engine
from fedtrack.plugins.workflow import Workflow
from fedtrack.policy.policy import of_job
from fedtrack.spool.spool import DEFAULT_LIMIT_BYTES, Durability, check_options
from fedtrack.tracking.events import SERVER
from fedtrack.view.options import ViewMode, view_mode

if TYPE_CHECKING:
    from fedtrack.runs.result import RunResult


class FedJob:
    """A job: the workflows and components of the server and of the sites.

    Args:
        name: Letters, digits, ``_``, ``-`` and ``.``; also the exported folder's name.
        min_clients: The job fails with fewer living sites; None means that all sites are needed.
        mandatory_clients: Sites without which the job fails.
        idle_timeout: A site fails after this many seconds without an answer or a logged event.
        durability: What a returned log call survives: ``process`` (its process's death), ``host`` (also a loss of
            power, except for the last 0.5 s) or ``disk`` (a loss of power; each call waits for the disk).
        spool_limit: The most bytes of a process's records on its disk that are not in a journal yet. Further metrics
            are dropped and counted.
        view: Whether the server's records show each metric over the sites: mean, quantiles, the worst site, and where
            their time went. True and ``last`` use a site's last value of a round, ``mean`` the mean of its values.
        policy: What may leave the sites, as a dict or a file; the policy of a site's owner is never loosened by it.
    """

    @checked_keywords
    def __init__(
        self,
        name: str = "fed_job",
        min_clients: int | None = None,
        mandatory_clients: list[str] | None = None,
        *,
        idle_timeout: float = 3600.0,
        durability: Durability = "process",
        spool_limit: int = DEFAULT_LIMIT_BYTES,
        view: bool | ViewMode = True,
        policy: Mapping[str, Any] | str | Path | None = None,
    ) -> None:
        check_name("The job's name", name)
        check_count("min_clients", min_clients)
        check_seconds("idle_timeout", idle_timeout, zero=False)
        check_options(durability=durability, limit_bytes=spool_limit)
        self.name = name
        self.durability = durability
        self.spool_limit = spool_limit
        self.view = view_mode(view)
        self.policy = of_job(policy)
        self.min_clients = min_clients
        self.mandatory_clients = mandatory_clients or []
        self.idle_timeout = idle_timeout
        self.site_names: list[str] = []
        self.n_clients: int | None = None
        self.placed: dict[str, dict[str, Placeable]] = {SERVER: {}}
        self.to_every_site: dict[str, Placeable] = {}
        self.files: dict[str, list[Path]] = {}
        self.initial_model: Any = None

    @overload
    def to(self, obj: PTModel, target: str, id: str | None = None) -> dict[str, str]: ...

    @overload
    def to(self, obj: Placeable | str | Path, target: str, id: str | None = None) -> str: ...

    def to(self, obj: Placeable | PTModel | str | Path, target: str, id: str | None = None) -> str | dict[str, str]:
        """Place ``obj`` on a node and return the id it has there.

        Args:
            obj: A workflow, a component, a receiver, or the path of a file or folder that the node needs. On the server
                also a PTModel, for which a dict of ids is returned.
            target: ``"server"`` or a site's name.
            id: Its id; None means ``component``, ``component_1`` and so on.

        Raises:
            ConfigError: The node's name is not valid, or ``obj`` cannot run there.
        """
        if target == SERVER:
            return self.to_server(obj, id)
        check_name("The site's name", target)
        if target not in self.site_names:
            self.site_names.append(target)
        return self._place(obj, self.placed.setdefault(target, {}), target, id)

    @overload
    def to_server(self, obj: PTModel, id: str | None = None) -> dict[str, str]: ...

    @overload
    def to_server(self, obj: Placeable | str | Path, id: str | None = None) -> str: ...

    def to_server(self, obj: Placeable | PTModel | str | Path, id: str | None = None) -> str | dict[str, str]:
        """Place ``obj`` on the server; see ``to``."""
        if isinstance(obj, PTModel):
            return {"persistor_id": self._place_model(obj.model, id or "persistor")}
        if isinstance(obj, Runner | ConvertToFedEvent):
            raise ConfigError(f"{type(obj).__name__} runs at a site; place it with job.to_clients(...).")
        return self._place(
            obj, self.placed[SERVER], SERVER, id or ("controller" if isinstance(obj, Workflow) else None)
        )

    def to_clients(self, obj: Placeable | str | Path, id: str | None = None) -> str:
        """Place ``obj`` on every site; see ``to``."""
        return self._place(obj, self.to_every_site, "", id)

    def sites(self) -> list[str]:
        """Return the names of the job's sites; none if they are named when the job is run.

        Names that something was placed at are the sites. ``n_clients`` alone means ``site-1`` to ``site-n``.

        Raises:
            ConfigError: ``n_clients`` is another number than that of the named sites.
        """
        numbered = [f"site-{number}" for number in range(1, (self.n_clients or 0) + 1)]
        if set(self.site_names) <= set(numbered):
            return numbered  # something of its own was placed at some of them
        if self.n_clients not in (None, len(self.site_names)):
            raise ConfigError(
                f"n_clients is {self.n_clients}, but the job's sites are {', '.join(self.site_names)}; leave n_clients "
                "out, or give their number."
            )
        return list(self.site_names)

    def export_job(self, job_root: str | Path) -> Path:
        """Write the job to ``<job_root>/<name>`` and return that folder.

        A job whose sites have no names yet is for all sites: ``fedtrack run FOLDER -n 2`` names them.

        Raises:
            ConfigError: The job is incomplete, or a file that it needs is missing.
        """
        from fedtrack.job.export import export_job

        try:
            return export_job(self, Path(job_root))
        except FedtrackError as error:  # see simulator_run
            raise error.with_traceback(None)  # noqa: B904

    def simulator_run(
        self,
        workspace: str | Path,
        n_clients: int | None = None,
        clients: Sequence[str] | int | None = None,
        threads: int | None = None,
        gpu: str | None = None,
        log_config: str | None = None,
    ) -> RunResult:
        """Run the job on this machine and return its result.

        Args:
            workspace: Folder for everything that the run writes; an earlier run in it is moved aside.
            n_clients: The number of sites, ``site-1`` to ``site-n``; None runs the sites that the job names.
            clients: The names of the sites. In FLARE before 2.7 ``threads`` had this position, so a number means that.
            threads: Accepted for jobs written for FLARE; every site is a process of its own.
            gpu: GPU ids for the sites, assigned in turn: ``"0,1"``, or ``"[0,1],[2,3]"`` for two GPUs a site.
            log_config: Accepted for jobs written for FLARE.

        Raises:
            ConfigError: The job is not valid; nothing was started.
            JobError: The run failed; its records until then are in the workspace.
        """
        self._name_sites(n_clients, None if isinstance(clients, int) else clients)
        if not self.sites():
            raise ConfigError(f"The job {self.name!r} has no site; give simulator_run n_clients or clients.")
        try:
            return open_engine(LOCAL_ENGINE).simulate(self, Path(workspace), gpus=gpu)
        except FedtrackError as error:
            # The message is for the author of the job, whose line is above this one; frames of the engine hide it.
            raise error.with_traceback(None)  # noqa: B904

    def _name_sites(self, n_clients: int | None, clients: Sequence[str] | None) -> None:
        if clients is not None:
            if n_clients is not None:
                raise ConfigError(f"n_clients is {n_clients} and clients are given, too; give one of them.")
            names = checked_names("clients", clients)
            if absent := [name for name in self.site_names if name not in names]:
                raise ConfigError(
                    f"Something is placed at {absent[0]!r}, which is none of the clients {', '.join(names)}; add it."
                )
            self.site_names, self.n_clients = names, None
        elif n_clients is not None:
            check_count("n_clients", n_clients)
            self.n_clients = n_clients

    def _place_model(self, model: Any, id: str) -> str:
        if self.initial_model is not None:
            raise ConfigError(f"The job {self.name!r} has an initial model already; keep one.")
        if model is None:
            raise ConfigError("PTModel(None) holds no model; without PTModel every site begins with its own.")
        self.initial_model = dict(model) if isinstance(model, Mapping) else model
        for known, item in self.placed[SERVER].items():
            if isinstance(item, ModelPersistor):
                return known
        return self._place(ModelPersistor(), self.placed[SERVER], SERVER, id)

    def _place(self, obj: Any, table: dict[str, Placeable], target: str, id: str | None) -> str:
        if isinstance(obj, str | Path):
            self.files.setdefault(target, []).append(Path(obj))
            return Path(obj).name
        if not isinstance(obj, Placeable):
            raise ConfigError(
                f"A {type(obj).__name__} cannot be placed in a job; valid are workflows, components, receivers and "
                "paths of files. A model goes into initial_model, or as PTModel(...) to the server."
            )
        if isinstance(obj, Workflow) and target != SERVER:
            raise ConfigError(f"{type(obj).__name__} runs on the server; place it with job.to_server(...).")
        if id is not None:
            check_name("The id", id)
        chosen = unused_id(id or "component", table)
        table[chosen] = obj
        return chosen
