"""WorkflowState: what a workflow remembers, so that a run which is resumed goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fedtrack.errors import ConfigError, DamagedError
from fedtrack.files import write_whole


class WorkflowState:
    """Keeps one value for each workflow of a job, in a file that is written whole or not at all.

    The server tells it which workflow is at work; a workflow sees its own value only.

    Args:
        path: The file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._workflow = ""

    def enter(self, workflow: str) -> None:
        """Say which workflow is at work from now on, by its id in the job."""
        self._workflow = workflow

    def load(self) -> Any:
        """Return the value that this workflow has saved last, also in an earlier process of the run; None at first.

        Raises:
            DamagedError: The file is damaged.
        """
        return self._values().get(self._workflow)

    def save(self, value: Any) -> None:
        """Keep ``value``; once this has returned it survives the death of the process.

        Args:
            value: None, numbers, texts, bytes, and lists and dicts of them. A model goes to ``server.models``.

        Raises:
            ConfigError: It holds something else.
            WorkspaceError: It cannot be written; the value before it still is there.
        """
        values = self._values() | {self._workflow: value}
        try:
            data = msgspec.msgpack.encode(values, enc_hook=_refuse)  # JSON has no NaN and no bytes
        except (TypeError, OverflowError, RecursionError) as error:
            raise ConfigError(
                f"The state of the workflow {self._workflow!r} cannot be kept: {error}; use numbers, texts, bytes, "
                "lists and dicts."
            ) from None
        write_whole(self._path, data)

    def _values(self) -> dict[str, Any]:
        if not self._path.exists():
            return {}
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise DamagedError(f"{self._path} is damaged ({error}); move it away, its workflows begin again.") from None


def _refuse(value: Any) -> Any:
    raise TypeError(f"it holds a {type(value).__name__}")
