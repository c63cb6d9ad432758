"""``nvflare poc``, with which users try FLARE on one machine."""

from __future__ import annotations

from pathlib import Path

from support.nvflare_system import FlareSystem

_PROJECT = """
api_version: 3
name: example_project
description: fedtrack's tests
participants:
  - {name: server, type: server, org: nvidia, default_host: localhost, fed_learn_port: PORT, admin_port: PORT}
  - {name: admin@nvidia.com, type: admin, org: nvidia, role: project_admin}
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


class Poc(FlareSystem):
    """A POC system.

    Args:
        root: Everything lies here.
        python_path: Where its job processes find further modules.
    """

    def __init__(self, root: Path, python_path: Path | None = None) -> None:
        super().__init__(root, root / "poc" / "example_project" / "prod_00", python_path)
        self.kit = self.production / "admin@nvidia.com"

    def prepare(self) -> None:
        """Provision it."""
        project = self.root / "project.yml"
        project.write_text(_PROJECT.replace("PORT", str(self.port)))
        self.nvflare("poc", "prepare", "-i", str(project))
        self.bind_to_loopback("server")

    def start(self) -> None:
        """Start everything; returns when the sites are connected."""
        self.nvflare("poc", "start")
