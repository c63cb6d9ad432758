"""Finds out, without asking anybody, whether this process may write to a W&B server."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from fedtrack import Transient


def base_url() -> str:
    """Return the W&B server's address from WANDB_BASE_URL or W&B's own settings files."""
    if url := os.environ.get("WANDB_BASE_URL"):
        return url.rstrip("/")
    import wandb

    return str(wandb.setup().settings.base_url).rstrip("/")


def require(server: str) -> None:
    """Check that there are credentials for ``server``, because wandb would ask for them on the terminal.

    Raises:
        Transient: There are none; a later ``wandb login`` is enough to go on.
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or _in_netrc(server):
        return
    raise Transient(
        f"WandBReceiver has mode='online', but this process has no credentials for {server}: "
        "set WANDB_API_KEY or run `wandb login` on this node, or use mode='offline'."
    )


def _in_netrc(server: str) -> bool:
    candidates = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for path in (Path(candidate).expanduser() for candidate in candidates if candidate):
        try:
            if netrc.netrc(str(path)).authenticators(urlsplit(server).netloc):
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
