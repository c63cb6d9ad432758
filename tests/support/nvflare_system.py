"""A FLARE system on this machine, with one server and two sites over mTLS, and questions about its processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

SITES = ("site-1", "site-2")


class FlareSystem:
    """Base of the ways to get one; a subclass has ``prepare`` and ``start``.

    Args:
        root: Everything lies here, also the home folder that FLARE's tools write to.
        production: Where the startup kits are, once it is prepared.
        python_path: Where its job processes find further modules.

    Attributes:
        port: The server's, free when asked for.
    """

    def __init__(self, root: Path, production: Path, python_path: Path | None = None) -> None:
        self.root = root
        self.production = production
        self.port = _free_port()
        home = root / "home"
        home.mkdir(parents=True)
        self.environment = os.environ | {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NVFLARE_POC_WORKSPACE": str(root / "poc"),
            "PYTHONPATH": str(python_path or ""),
        }

    def kill(self) -> None:
        """Kill every process of the system; nothing of it has to outlive a test."""
        deadline = time.monotonic() + 20
        while (pids := self.pids()) and time.monotonic() < deadline:
            signal_all(pids)
            time.sleep(0.1)

    def pids(self, *words: str) -> list[int]:
        """Return the processes of this system whose command line holds all ``words``."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.production) in line and all(word in line for word in words):
                found.append(int(path.parent.name))
        return found

    def listening(self) -> set[str]:
        """Return the addresses on which the system's processes listen."""
        inodes = set()
        for pid in self.pids():
            for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
                try:
                    target = str(descriptor.readlink())
                except OSError:
                    continue
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        found = set()
        for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and fields[9] in inodes:
                    raw = bytes.fromhex(fields[1].partition(":")[0])
                    words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
                    found.add(socket.inet_ntop(family, words))
        return found

    def bind_to_loopback(self, server: str) -> None:
        """Bind the server to loopback: FLARE's default is every interface."""
        path = self.production / server / "startup" / "fed_server.json"
        path.write_text(path.read_text().replace(f'"{server}:{self.port}"', f'"localhost:{self.port}"'))

    def nvflare(self, *arguments: str) -> None:
        """Run FLARE's command line."""
        call = [str(Path(sys.executable).parent / "nvflare"), *arguments]
        with (self.root / "nvflare.log").open("ab") as output:
            subprocess.run(
                call,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
                timeout=120,
                cwd=self.root,
            )


def signal_all(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Send a signal to those of ``pids`` that are there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
