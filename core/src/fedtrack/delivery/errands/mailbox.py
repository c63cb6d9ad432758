"""Mailbox: the folder through which other processes ask the process that delivers from a journal.

A request is a file, and so is its answer. A file needs no open port, and whoever may write it may also write the
journal itself. No request outlives the processes of both sides: the asker removes its files, and the process that
delivers empties the folder when it begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from time import sleep
from uuid import uuid4

import msgspec

from fedtrack.delivery.errands.messages import Answer, Errand
from fedtrack.errors import WorkspaceError
from fedtrack.files import unwritable, write_whole

#: The folder beside the journal.
FOLDER = "errands"

_ASK_SECONDS = 0.05
_ERRAND: msgspec.json.Decoder[Errand] = msgspec.json.Decoder(Errand)


class Mailbox:
    """The requests of one node.

    Args:
        folder: The folder of the node's journal.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER

    def clear(self) -> None:
        """Remove what an earlier process has left: those who ask it have noticed that it has ended."""
        for path in self._files("*"):
            with contextlib.suppress(OSError):
                path.unlink()

    def asked(self) -> list[tuple[str, Errand | None]]:
        """Return the open requests by their ids; None stands for one that this version cannot read."""
        found: list[tuple[str, Errand | None]] = []
        for path in self._files("*.asked"):
            try:
                found.append((path.stem, _ERRAND.decode(path.read_bytes())))
            except OSError:  # withdrawn
                continue
            except msgspec.MsgspecError:
                found.append((path.stem, None))
        return found

    def answer(self, id_: str, answer: Answer) -> None:
        """Answer a request, unless it was withdrawn; on a full disk the asker waits for the end of the run."""
        request = self._folder / f"{id_}.asked"
        if request.exists():
            with contextlib.suppress(WorkspaceError):
                write_whole(self._folder / f"{id_}.answer", msgspec.json.encode(answer))
        request.unlink(missing_ok=True)

    def ask(self, errand: Errand, alive: Callable[[], bool]) -> Answer | None:
        """Ask the process that delivers, and wait for its answer.

        Args:
            errand: The request.
            alive: Whether that process still works.

        Returns:
            The answer; None if the process has ended before it gave one.

        Raises:
            WorkspaceError: The request cannot be written.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise unwritable(str(self._folder), error) from None
        request = self._folder / f"{uuid4().hex}.asked"
        answer = request.with_suffix(".answer")
        try:
            write_whole(request, msgspec.json.encode(errand))
            while True:
                goes_on = alive()  # before the look at the answer, so that the last one is not missed
                if answer.exists():
                    return msgspec.json.decode(answer.read_bytes(), type=Answer)
                if not goes_on:
                    return None
                sleep(_ASK_SECONDS)
        finally:
            request.unlink(missing_ok=True)
            answer.unlink(missing_ok=True)

    def _files(self, pattern: str) -> list[Path]:
        return sorted(self._folder.glob(pattern))
