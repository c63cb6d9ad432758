"""ForkServerProcess: the fork server as the server sees it, a child process behind a socket.

Imports little, so that it can be started before the rest of the engine is imported: both then import at the same
time, on a core each.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from time import monotonic
from types import TracebackType

#: Variables that belong to the process which hosts the receivers, by prefix: no site ever sees them.
CREDENTIAL_PREFIXES = ("MLFLOW_", "WANDB_", "DATABRICKS_", "AWS_", "AZURE_", "GOOGLE_")


class ForkServerProcess:
    """Starts the fork server, and ends it.

    Attributes:
        control: Sequenced packets: one message each, descriptors as ancillary data.
    """

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fedtrack_local.processes.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=site_environment(),
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C in the terminal is for the server, which ends its sites in order
            )

    def __enter__(self) -> ForkServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def output(self) -> str:
        """Return what it has printed."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def hang_up(self) -> None:
        """Tell it to end every child and then itself, without waiting for that."""
        self.control.close()

    def close(self, grace_seconds: float = 3.0) -> None:
        """End it and every child; what is still running after the grace period is killed."""
        self.hang_up()
        deadline = monotonic() + grace_seconds
        try:
            self._process.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()  # sites have asked the kernel to die with it
            self._process.wait()
        self._errors.close()


def site_environment() -> dict[str, str]:
    """Return this process's environment without what only receivers may know."""
    return {key: value for key, value in os.environ.items() if not key.startswith(CREDENTIAL_PREFIXES)}
