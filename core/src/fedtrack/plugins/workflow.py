"""Workflow: the job's description of its server-side logic, which an engine executes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import msgspec

from fedtrack.errors import NotSupported

#: The tasks of a site.
TASKS = frozenset({"train", "validate", "submit_model"})


class Workflow(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of the workflows; its fields are the arguments that a job file may give.

    A job file has the name of the class and its arguments. The hook ``fedtrack_workflows`` provides the executable
    classes. A third-party workflow is a subclass with fields of its own and an ``execute`` method. The first line of
    the docstring is its summary in listings.

    Class attributes:
        ignored: Arguments that are accepted for jobs written for FLARE and change nothing; an export leaves them out.
    """

    ignored: ClassVar[frozenset[str]] = frozenset()

    def planned_rounds(self) -> int:
        """Return how many rounds the workflow will run, for the display of progress; 0 if it is not known."""
        return 0

    def check(self, sites: Sequence[str]) -> None:
        """Check the arguments against the job's ``sites``, before anything is started.

        Raises:
            ConfigError: The arguments do not fit the sites.
        """

    def tasks(self) -> frozenset[str]:
        """Return the tasks that sites are asked to do: ``train``, ``validate`` and ``submit_model`` if not known.

        A job is refused if the executor of a site does not do all of them.
        """
        return TASKS

    def without_effect(self, sites: Sequence[str]) -> list[str]:
        """Return why arguments have no effect among ``sites``, one clause for each; a user sees them as warnings."""
        return []

    def execute(self, server: Any) -> None:
        """Run the workflow to its end.

        Args:
            server: The engine's interface for workflows; see ``fedtrack_local.Server``.

        Raises:
            NotSupported: The class only describes a workflow.
            JobError: Too few sites are left.
        """
        name = type(self).__name__
        raise NotSupported(f"The workflow {name} is described here, but no installed plugin executes it.")


def summary_of(workflow: type[Workflow]) -> str:
    """Return the first line of the class's own docstring, "" if it has none."""
    return (workflow.__dict__.get("__doc__") or "").strip().partition("\n")[0]


def check_executable(workflow: type[Workflow]) -> None:
    """Check the class of an executable workflow of a plugin.

    Raises:
        TypeError: The class has no ``execute`` of its own, or no docstring for listings.
    """
    if workflow.execute is Workflow.execute:
        raise TypeError(f"{workflow.__name__} has no method execute(self, server); a workflow's plugin executes it")
    if not summary_of(workflow):
        raise TypeError(f"{workflow.__name__} has no docstring; its first line is the summary in listings")
