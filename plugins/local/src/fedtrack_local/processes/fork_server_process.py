"""ForkServerProcess: the server's handle on the fork server, a child process behind a socket.

The module imports little, so that the fork server can be started before the rest of the engine is imported. Both then
import at the same time, each on a core of its own.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from time import monotonic
from types import TracebackType

from fedtrack.output import fill_descriptors
from fedtrack.site_environment import site_environment
from fedtrack_local.scripts.variables import NOT_INHERITED

#: Seconds from the end of the fork server's socket to the end of its process.
_LEAVE_SECONDS = 5.0


class ForkServerProcess:
    """Starts the fork server, and ends it.

    Attributes:
        control: Sequenced packets: one message each, descriptors as ancillary data.
    """

    def __init__(self) -> None:
        fill_descriptors()  # a socket with the number of a closed standard output would get what is printed
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                # -P: a file in the current directory must not take the place of a module.
                [sys.executable, "-P", "-m", "fedtrack_local.processes.fork_server", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment_for_sites(),
                stdin=subprocess.DEVNULL,
                stdout=self._errors,
                stderr=self._errors,
                umask=0o077,
                start_new_session=True,  # Ctrl-C in the terminal goes to the server only, which then ends its sites
            )

    def __enter__(self) -> ForkServerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def output(self) -> str:
        """Return the output of the fork server so far."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def end(self) -> int | None:
        """Return the status of the fork server, which has closed its socket; None if it nevertheless does not end."""
        try:
            return self._process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def hang_up(self) -> None:
        """Let the fork server end every child and then itself, without waiting for that."""
        self.control.close()

    def close(self, grace_seconds: float = 3.0) -> None:
        """End the fork server and its children; those that still run after the grace period are killed."""
        self.hang_up()
        deadline = monotonic() + grace_seconds
        try:
            self._process.wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()  # sites have asked the kernel to die with it
            self._process.wait()
        self._errors.close()


def environment_for_sites() -> dict[str, str]:
    """Return the variables of this process that the fork server gets, and so the sites, which it forks.

    They are also without those by which a launcher or a site would claim the processes of this run.
    """
    return {name: value for name, value in site_environment().items() if name not in NOT_INHERITED}
