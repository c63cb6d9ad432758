"""Environments: each peer is installed in an environment of its own in the user's cache, never beside fedtrack."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

#: Requirements of the arms' common code besides torch; torch and scikit-learn have the versions of this environment.
COMMON = ("pluggy", "torch", "scikit-learn")
PEERS = {
    "flare": ("nvflare==2.9.0", "mlflow", "tensorboard"),
    "flower": ("flwr[simulation]==1.41.0",),
    "pfl": ("pfl==0.6.0",),
}


def interpreter(peer: str) -> Path:
    """Return a peer's Python; the first call installs the peer, which can take minutes.

    Raises:
        CalledProcessError: The peer cannot be installed; pip's reason is on stderr.
    """
    pinned = ("torch", "scikit-learn", "mlflow", "tensorboard")
    wanted = [f"{name}=={version(name)}" if name in pinned else name for name in (*COMMON, *PEERS[peer])]
    digest = hashlib.sha256(repr((wanted, platform.python_version())).encode()).hexdigest()[:12]
    folder = Path.home() / ".cache" / "fedtrack" / "peers" / f"{peer}-{digest}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        uv = shutil.which("uv") or str(Path(__file__).parents[2] / ".uv" / "bin" / "uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", platform.python_version(), folder], check=True)
        # Compiled here, so that a peer's first run is not slower than the others.
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *wanted]
        subprocess.run(install, check=True, cwd=folder)  # the workspace has constraints of its own
        done.write_text("\n".join(wanted))
    return python


def variables() -> dict[str, str]:
    """Return the environment variables with which every arm runs."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(root / part) for part in ("core/src", "examples", "benchmarks/peers"))
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": path, "FLWR_TELEMETRY_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
