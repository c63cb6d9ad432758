"""A provisioned FLARE federation: every party has its own startup kit and starts it with the kit's ``start.sh``."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from support.nvflare_system import SITES, FlareSystem

#: The name of the server.
SERVER = "server.trial.example"
_PROJECT = """
api_version: 3
name: trial
description: two hospitals and a coordinator
participants:
  - name: server.trial.example
    type: server
    org: coordinator
    default_host: localhost  # a name that the sites can resolve
    fed_learn_port: PORT
    admin_port: PORT
  - {name: site-1, type: client, org: hospital_a}
  - {name: site-2, type: client, org: hospital_b}
  - {name: admin@trial.example, type: admin, org: coordinator, role: project_admin}
  - {name: lead@hospital-a.example, type: admin, org: hospital_a, role: lead}
  - {name: org@hospital-a.example, type: admin, org: hospital_a, role: org_admin}
  - {name: member@hospital-b.example, type: admin, org: hospital_b, role: member}
builders:
  - path: nvflare.lighter.impl.workspace.WorkspaceBuilder
    args: {template_file: [master_template.yml, aws_template.yml, azure_template.yml]}
  - path: nvflare.lighter.impl.static_file.StaticFileBuilder
    args: {config_folder: config}
  - path: nvflare.lighter.impl.cert.CertBuilder
  - path: nvflare.lighter.impl.signature.SignatureBuilder
"""


class Hospitals(FlareSystem):
    """Such a federation.

    Args:
        root: Everything lies here.
        python_path: Where its job processes find further modules.

    Attributes:
        kit: The startup kit of a hospital's lead, who is none of the server's own people.
        admin_kit: That of the project's admin.
    """

    def __init__(self, root: Path, python_path: Path | None = None) -> None:
        super().__init__(root, root / "workspace" / "trial" / "prod_00", python_path)
        self.kit = self.production / "lead@hospital-a.example"
        self.admin_kit = self.production / "admin@trial.example"

    def prepare(self) -> None:
        """Provision it."""
        project = self.root / "project.yml"
        project.write_text(_PROJECT.replace("PORT", str(self.port)))
        self.nvflare("provision", "-p", str(project), "-w", str(self.root / "workspace"))
        self.bind_to_loopback(SERVER)

    def start(self) -> None:
        """Start every party; returns when the sites are connected."""
        for name in (SERVER, *SITES):
            with (self.root / f"{name}.log").open("ab") as log:
                subprocess.run(
                    ["bash", str(self.production / name / "startup" / "start.sh")],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=True,
                    start_new_session=True,
                )
        deadline = time.monotonic() + 60
        while not all(self.joined(site) for site in SITES):
            if time.monotonic() > deadline:
                raise TimeoutError(self._server_log().read_text()[-2000:])
            time.sleep(0.1)

    def joined(self, site: str) -> int:
        """Return how often a site has joined: once more whenever it was gone and came back."""
        return self._server_log().read_text().count(f"New client {site}@")

    def came_back(self, site: str) -> bool:
        """Return whether a server that was started again has found a site that went on meanwhile."""
        return f"Re-activate the client: {site} " in self._server_log().read_text()

    def _server_log(self) -> Path:
        return self.root / f"{SERVER}.log"
