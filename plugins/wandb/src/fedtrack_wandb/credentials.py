"""Credentials: which W&B server to use, and whether this process has an API key for it; nobody is ever asked."""

from __future__ import annotations

import configparser
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from fedtrack import Transient

#: The former host of the public service; wandb still looks for keys under this name.
_FORMER_PUBLIC_HOST = "api.wandb.ai"


def base_url() -> str:
    """Return the W&B server's address: from WANDB_BASE_URL, ``wandb login --host``, or wandb's default."""
    return (os.environ.get("WANDB_BASE_URL") or _url_of_login() or _default_url()).rstrip("/")


def require(server: str) -> None:
    """Check that there are credentials for ``server``; without them wandb would ask on the terminal.

    Raises:
        Transient: There are none. A later ``wandb login`` is enough to continue.
    """
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or _in_netrc(server):
        return
    raise Transient(
        f"WandBReceiver has mode='online', but this process has no credentials for {server}: "
        "set WANDB_API_KEY or run `wandb login` on this node, or use mode='offline'."
    )


def _url_of_login() -> str:
    # Not from wandb.setup(): without credentials it would start a wandb-core that nobody stops.
    folder = Path(os.environ.get("WANDB_CONFIG_DIR") or Path("~/.config/wandb").expanduser())
    settings = configparser.ConfigParser(interpolation=None)
    try:
        settings.read(folder / "settings")
    except (OSError, configparser.Error):
        return ""
    return settings.get("default", "base_url", fallback="")


def _default_url() -> str:
    import wandb

    return str(wandb.Settings().base_url)


def _in_netrc(server: str) -> bool:
    hosts = {urlsplit(server).netloc}
    if server == _default_url().rstrip("/"):
        hosts.add(_FORMER_PUBLIC_HOST)
    candidates = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    for path in (Path(candidate).expanduser() for candidate in candidates if candidate):
        try:
            known = netrc.netrc(str(path)).hosts
        except (OSError, netrc.NetrcParseError):
            continue
        if hosts & known.keys():
            return True
    return False
