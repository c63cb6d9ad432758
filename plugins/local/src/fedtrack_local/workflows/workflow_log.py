"""WorkflowLog: which workflows of a job have begun and ended, so that a resumed run plays each of them once."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedtrack.errors import DamagedError
from fedtrack.files import write_whole
from fedtrack_local.room import when_there_is_room
from fedtrack_local.workflows.cross_site_results import CrossSiteResults


class Passage(msgspec.Struct):
    """The course of one workflow.

    Attributes:
        first_round: The job's round with which it begins, counted from 0.
        ended: Whether it was executed to its end.
        final_metrics: The sites' metrics of its last model.
        cross_site: Its results of cross-site evaluation.
    """

    first_round: int
    ended: bool = False
    final_metrics: dict[str, float] = {}
    cross_site: CrossSiteResults = {}


class WorkflowLog:
    """The passages of a run by workflow id, in a file that is written whole or not at all.

    Args:
        path: The file; its folder exists.

    Raises:
        DamagedError: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._passages = self._read()

    @property
    def has_any(self) -> bool:
        """Whether a workflow has begun."""
        return bool(self._passages)

    def begin(self, workflow: str, next_round: int) -> Passage:
        """Return the passage of ``workflow``; if it has none yet, one that begins with ``next_round``.

        Raises:
            WorkspaceError: The new passage cannot be written.
        """
        if workflow not in self._passages:
            self._passages[workflow] = Passage(next_round)
            self._write()
        return self._passages[workflow]

    def end(self, workflow: str, final_metrics: dict[str, float], cross_site: CrossSiteResults) -> None:
        """Record that ``workflow`` was executed to its end.

        Raises:
            WorkspaceError: It cannot be written.
        """
        passage = self._passages[workflow]
        passage.ended, passage.final_metrics, passage.cross_site = True, final_metrics, cross_site
        self._write()

    def _read(self) -> dict[str, Passage]:
        if not self._path.exists():
            return {}
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, Passage])
        except msgspec.MsgspecError as error:
            raise DamagedError(
                f"{self._path} is damaged ({error}); start the job again in another workspace."
            ) from None

    def _write(self) -> None:
        data = msgspec.msgpack.encode(self._passages)  # JSON has no NaN
        when_there_is_room(lambda: write_whole(self._path, data))
