"""WorkflowState: the stored values of the workflows, with which a resumed run continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ConfigError, DamagedError
from fedtrack.files import write_whole
from fedtrack_local.room import when_there_is_room


class WorkflowState:
    """One value for each workflow of a job, in a file that is written whole or not at all.

    The server sets the current workflow; a workflow sees only its own value.

    Args:
        path: The file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._workflow = ""

    @property
    def workflow(self) -> str:
        """The id of the current workflow."""
        return self._workflow

    def enter(self, workflow: str) -> None:
        """Set the current workflow, by its id in the job."""
        self._workflow = workflow

    def load(self) -> Any:
        """Return the last saved value of this workflow, also from an earlier process of the run; None at first.

        Raises:
            DamagedError: The file is damaged.
        """
        return self._values().get(self._workflow)

    def save(self, value: Any) -> None:
        """Store ``value``; when this returns, the value survives the death of the process.

        Args:
            value: None, numbers, texts, bytes, and lists and dicts of them. A model goes to ``server.models``.

        Raises:
            ConfigError: The value has something else in it.
            WorkspaceError: The value cannot be written; the earlier one is still there.
        """
        values = self._values() | {self._workflow: value}
        try:
            data = msgspec.msgpack.encode(values, enc_hook=_refuse)  # JSON has no NaN and no bytes
        except (TypeError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"The state of the workflow {self._workflow!r} cannot be kept: {error}; use numbers, texts, bytes, "
                "lists and dicts."
            ) from None
        when_there_is_room(lambda: write_whole(self._path, data))

    def _values(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise DamagedError(f"{self._path} is damaged ({error}); move it away, its workflows begin again.") from None


def _refuse(value: Any) -> Any:
    raise TypeError(f"it holds a {type(value).__name__}")
