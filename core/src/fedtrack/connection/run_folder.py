"""RunFolder: a run in a collector's folder, laid out like every other run, so that every command can read it.

::

    <collector>/runs/<run>/server/simulate_job/        run.json, journal.db, delivery.db
    <collector>/runs/<run>/<site>/simulate_job/spool/  of sites that write into the folder themselves
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fedtrack.errors import WorkspaceError
from fedtrack.runs.workspace import COLLECTED, RUN_FOLDER, RUNS_FOLDER, RunRecord, read_record
from fedtrack.tracking.events import SERVER

RECORD_FILE = "run.json"


class RunFolder:
    """The folder of one run.

    Args:
        collector: The collector's folder.
        name: The run's name, which is valid.

    Attributes:
        base: The folder of the run.
    """

    def __init__(self, collector: Path, name: str) -> None:
        self.name = name
        self.base = collector / RUNS_FOLDER / name

    @property
    def server(self) -> Path:
        """The folder of the journal."""
        return self.base / SERVER / RUN_FOLDER

    @property
    def record(self) -> RunRecord | None:
        """The run's identity; None before ``create``."""
        return read_record(self.server)

    def spool(self, site: str) -> Path:
        """Return the folder of the spool of a site that writes here itself."""
        return self.base / site / RUN_FOLDER / "spool"

    def sites(self) -> list[str]:
        """Return the sites that write here themselves."""
        return sorted(path.parent.parent.name for path in self.base.glob(f"*/{RUN_FOLDER}/spool"))

    def create(self, run_id: str, started_ns: int) -> RunRecord:
        """Return the run's identity. Of several processes that create it at once, the first one decides.

        Args:
            run_id: The id for backends, if this is a new run.
            started_ns: Wall clock, nanoseconds since the epoch, if this is a new run.

        Raises:
            WorkspaceError: The folder cannot be written.
        """
        path = self.server / RECORD_FILE
        try:
            self.server.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                with contextlib.suppress(FileExistsError), _new(path) as file:
                    file.write_bytes(msgspec.json.encode(RunRecord(run_id, "", started_ns, COLLECTED)))
        except OSError as error:
            raise WorkspaceError(
                f"The collector's folder {str(self.base)!r} cannot be written: {error.strerror}; "
                "choose a folder that you can write, or connect by the collector's address."
            ) from None
        found = self.record
        if found is None:
            raise WorkspaceError(f"{path} cannot be read, so the run's identity is not known; restore it.")
        return found


@contextlib.contextmanager
def _new(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write, which becomes ``path`` unless another process was first."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
