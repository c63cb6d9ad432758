"""Exchange: the interface through which the local engine's server gives tasks to its sites."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from fedtrack.errors import JobError
from fedtrack.runs import Goodbye
from fedtrack_local.workflows.workflow import Answer, GroupAnswer, Task


class Exchange(Protocol):
    """One implementation is for sites with a process each, one for sites that share workers.

    Attributes:
        waiting: The sites that have not answered the current task yet.
    """

    waiting: set[str]

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer | GroupAnswer]:
        """Send ``task`` to ``sites`` and yield their answers as they come; see ``workflow.Server.ask``.

        Raises:
            JobError: Too few sites are left.
        """

    def reject(self, site: str, error: Exception) -> None:
        """Treat a site's answer as a failure of that site.

        Raises:
            JobError: Too few sites are left.
        """

    def dismiss(self) -> None:
        """Tell the processes that there are no further tasks, and wait for their end."""

    def goodbye(self, site: str) -> Goodbye | None:
        """Return the counts of a site's processes, after their end; None if they are not known."""


class FailedExchange:
    """Stands for an exchange whose processes could not be started: every task ends with the reason.

    So the run ends as any other failed run does, with its summary.

    Args:
        error: The reason.
    """

    def __init__(self, error: JobError) -> None:
        self.waiting: set[str] = set()
        self._error = error

    def ask(self, task: Task, sites: Sequence[str]) -> Iterator[Answer | GroupAnswer]:
        """Raise the reason."""
        raise self._error

    def reject(self, site: str, error: Exception) -> None:
        """Raise the reason."""
        raise self._error

    def dismiss(self) -> None:
        """Raise the reason."""
        raise self._error

    def goodbye(self, site: str) -> Goodbye | None:
        """Return None: it is not known what the sites that were started did."""
        return None
