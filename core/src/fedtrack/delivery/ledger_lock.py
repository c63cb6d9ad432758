"""LedgerLock: only one process at a time writes a ledger."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from fedtrack.errors import WorkspaceError


class LedgerLock:
    """A lock that is held until it is closed, or its process ends.

    Args:
        path: The locked file; created (0600) if it does not exist.

    Raises:
        WorkspaceError: Another ledger holds the lock, or the file cannot be created.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be used: {error.strerror}; choose another workspace.") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise WorkspaceError(
                f"{path.parent}: the process {holder} delivers from this journal; wait for it."
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Let another process write the ledger."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
