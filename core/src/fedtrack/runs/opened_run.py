"""OpenedRun: a run in a notebook or a script: its state, its sites, and its metrics as a table."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

from fedtrack.engine import RunState
from fedtrack.errors import ConfigError
from fedtrack.runs.metric_table import MetricTable
from fedtrack.runs.run_state import view
from fedtrack.runs.stored_run import StoredRun, find_run


class OpenedRun:
    """A run that is read and not changed; it may go on meanwhile, and no file stays open.

    Args:
        run: The run's folders.
    """

    def __init__(self, run: StoredRun) -> None:
        self._run = run

    def __repr__(self) -> str:
        return f"OpenedRun({str(self.folder)!r}, {self.state.value})"

    @property
    def folder(self) -> Path:
        """The folder of the run: a workspace or one of its folders ``runs/<number>``."""
        return self._run.base

    @property
    def run_id(self) -> str:
        """The run's id; "" if the run never began."""
        record = self._run.record
        return "" if record is None else record.run_id

    @property
    def job_name(self) -> str:
        """The job's name; "" if it is not known."""
        return view(self._run).job_name

    @property
    def state(self) -> RunState:
        """The state of the run at this moment."""
        return view(self._run).state

    @property
    def sites(self) -> list[str]:
        """The names of the sites."""
        return self._run.sites()

    def metrics(self, keys: str | Iterable[str] = (), sites: str | Iterable[str] = ()) -> MetricTable:
        """Return the run's metrics as a table, which is read when it is used.

        Args:
            keys: The metrics that are wanted, one name or many; () for all.
            sites: The sites that are wanted, one name or many; ``"server"`` for the server's own; () for all.
        """
        return MetricTable(self._run, _names(keys), _names(sites))


def open(path: str | PathLike[str]) -> OpenedRun:
    """Return the run in ``path``.

    Args:
        path: A workspace, one of its folders ``runs/<number>``, a run of a collector, or a run that was fetched.

    Raises:
        ConfigError: There is no run.
    """
    run = find_run(Path(path))
    if not run.journaling_nodes():
        raise ConfigError(f"The run in {str(run.base)!r} has no journal, so it has no events; name another run.")
    return OpenedRun(run)


def _names(given: str | Iterable[str]) -> frozenset[str]:
    return frozenset([given] if isinstance(given, str) else given)
