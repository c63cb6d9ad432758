"""LedgerLock: only one process at a time writes a ledger."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from time import monotonic, sleep

from fedtrack.errors import WorkspaceError

#: The name of the file beside a ledger that the process which delivers has locked.
LOCK_FILE = "delivery.lock"

_POLL_SECONDS = 0.05


class LedgerLock:
    """A lock that is held until it is closed, or its process ends.

    Processes that inherit the descriptor share the lock: it is held until the last of them closes it or ends.

    Args:
        path: The locked file; created (0600) if it does not exist.
        patience: How many seconds to wait for a holder that may be about to end.

    Attributes:
        descriptor: The descriptor; -1 once it is closed.

    Raises:
        WorkspaceError: Another ledger holds the lock, or the file cannot be created.
    """

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise WorkspaceError(f"{path} cannot be used: {error.strerror}; choose another workspace.") from None
        deadline = monotonic() + patience
        while not self._try():
            if monotonic() < deadline:
                sleep(_POLL_SECONDS)
                continue
            holder = os.pread(self.descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self.descriptor)
            raise WorkspaceError(f"{path.parent}: the process {holder} delivers from this journal; wait for it.")
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let another process write the ledger."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
