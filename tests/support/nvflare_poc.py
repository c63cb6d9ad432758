"""A FLARE system on this machine: `nvflare poc`, one server and two sites, mTLS, on loopback only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_PROJECT = """
api_version: 3
name: example_project
description: fedtrack's tests
participants:
  - {name: server, type: server, org: nvidia, default_host: localhost, fed_learn_port: PORT, admin_port: PORT}
  - {name: admin@nvidia.com, type: admin, org: nvidia, role: project_admin}
  - {name: org@nvidia.com, type: admin, org: nvidia, role: org_admin}
  - {name: site-1, type: client, org: nvidia}
  - {name: site-2, type: client, org: nvidia}
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
    args: {template_file: [master_template.yml, aws_template.yml, azure_template.yml]}
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: {config_folder: config}
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
"""


class Poc:
    """A prepared system.

    Args:
        root: Everything lies here, also the home folder that FLARE's tools write to.
        python_path: Where its job processes find further modules.
    """

    def __init__(self, root: Path, python_path: Path | None = None) -> None:
        self.root = root
        self.port = _free_port()
        self.production = root / "poc" / "example_project" / "prod_00"
        self.kit = self.production / "admin@nvidia.com"
        home = root / "home"
        home.mkdir(parents=True)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {
            "HOME": str(home),
            "PATH": path,
            "NVFLARE_POC_WORKSPACE": str(root / "poc"),
            "PYTHONPATH": str(python_path or ""),
        }

    def prepare(self) -> None:
        """Provision it, and bind the server to loopback: FLARE's default is every interface."""
        project = self.root / "project.yml"
        project.write_text(_PROJECT.replace("PORT", str(self.port)))
        self._nvflare("prepare", "--force", "-i", str(project))
        for path in (self.production / "server" / "startup").glob("fed_server.json"):
            path.write_text(path.read_text().replace(f'"server:{self.port}"', f'"localhost:{self.port}"'))

    def start(self, *services: str) -> None:
        """Start everything, or the services named."""
        self._nvflare("start", *(part for name in services for part in ("-p", name)))

    def stop(self, *services: str) -> None:
        """Stop everything, or the services named; what does not stop is killed."""
        if self.pids():
            try:
                self._nvflare("stop", *(part for name in services for part in ("-p", name)))
            except subprocess.CalledProcessError:
                if services:
                    raise
        if not services:
            self.kill()

    def kill(self) -> None:
        """Kill every process of the system."""
        deadline = time.monotonic() + 20
        while (pids := self.pids()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
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

    def _nvflare(self, command: str, *arguments: str) -> None:
        call = [str(Path(sys.executable).parent / "nvflare"), "poc", command, *arguments]
        log = self.root / f"{command}.log"
        with log.open("ab") as output:
            subprocess.run(
                call,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=True,
                timeout=120,
                cwd=self.root,
            )

    def allow(self, *classes: str) -> list[str]:
        """Return the classes that the server allows jobs without code of their own, after adding some."""
        path = self.production / "server" / "local" / "resources.json.default"
        own = path.with_suffix("")
        content = json.loads((own if own.exists() else path).read_text())
        content["class_allow_list"] = [*content.get("class_allow_list", []), *classes]
        own.write_text(json.dumps(content))
        return list(content["class_allow_list"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
