"""Builds core: names its siblings for its extras, and compiles the log call.

Siblings. ``fedtrack[mlflow]`` needs ``fedtrack-mlflow``. In a release that is a range of versions. In a clone it is
the folder beside this one, by URL: a sibling may be on no index yet, and the one of an index is not the one of the
clone. Only extras are named so, because installers look at an extra's URL once, when the extra is asked for, but at a
dependency's URL whenever they resolve anything beside it, when the clone may be gone.

What is compiled is optional: without a compiler, or with ``FEDTRACK_PURE=1``, this is a wheel of Python only, in which
the log call does the same and takes longer.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

#: The siblings that each extra brings. What one of them needs in turn is named as well: it asks for a range of
#: versions, and where nothing is on an index only a name in the same command can meet that.
EXTRAS = {
    "local": ["fedtrack-local"],
    "tensorboard": ["fedtrack-tensorboard[receiver]", "fedtrack-local"],
    "mlflow": ["fedtrack-mlflow[receiver]", "fedtrack-local"],
    "wandb": ["fedtrack-wandb[receiver]", "fedtrack-local"],
    "lightning": ["fedtrack-lightning", "fedtrack-local"],
    "transformers": ["fedtrack-transformers", "fedtrack-local"],
    "loops": ["fedtrack-loops", "fedtrack-local"],
    "nvflare": ["fedtrack-nvflare", "fedtrack-local"],
    "ui": ["fedtrack-ui"],
    "examples": ["fedtrack-examples", "fedtrack-local"],
}
#: Extras that need no sibling: for `connect` and `collect`, for `runs export` and `runs query`, and for signatures.
OTHERS = {
    "connect": ["httpx2>=2,<3"],
    "query": ["duckdb>=1,<3"],
    "sign": ["cryptography>=42"],
    "collect": ["uvicorn>=0.30", "starlette>=0.40,<2", "prometheus-client>=0.20"],
}
#: Not nvflare, which brings a whole distributed system, and not the examples, which bring torch.
ALL = ("tensorboard", "mlflow", "wandb")
VERSIONS = ">=0.1,<0.2"

EXTENSION = Path("src/fedtrack/spool/_spool_base.abi3.so")
SOURCE = Path("src/fedtrack/spool/_spool_base.c")


class SiblingsHook(MetadataHookInterface):
    """Fills in ``optional-dependencies``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Name each sibling as whoever installs this can have it."""
        released = os.environ.get("FEDTRACK_RELEASE", "") not in ("", "0")
        place = None if released else clone_url(Path(self.root).resolve().parent)
        extras = {
            extra: [requirement(sibling, place) for sibling in siblings] for extra, siblings in sorted(EXTRAS.items())
        }
        metadata["optional-dependencies"] = extras | OTHERS | {"all": [f"fedtrack[{','.join(ALL)}]"]}


def requirement(sibling: str, place: str | None) -> str:
    """Return the requirement on a sibling: by version, or below ``place`` in a clone."""
    if place is None:
        return sibling + VERSIONS
    return f"{sibling} @ {place.format(folder=folder_of(sibling))}"


def folder_of(sibling: str) -> str:
    """Return a sibling's folder, relative to the clone's."""
    name = sibling.partition("[")[0].removeprefix("fedtrack-")
    return "examples" if name == "examples" else f"plugins/{name}"


def clone_url(clone: Path) -> str | None:
    """Return where the siblings are, with ``{folder}`` for the folder of each; None if this is no clone."""
    if not all((clone / folder_of(name) / "pyproject.toml").is_file() for names in EXTRAS.values() for name in names):
        return None  # an sdist that was unpacked
    return repository_url(clone) or clone.as_uri().replace("{", "{{").replace("}", "}}") + "/{folder}"


def repository_url(clone: Path) -> str | None:
    """Return the URL that pip has cloned this folder from; None if the folder is not pip's, but a user's.

    pip removes its folder and may keep the wheel, for the next one who installs the same commit.
    """
    if not (clone.name.startswith("pip-req-build-") or clone.parent.name.startswith("pip-install-")):
        return None
    try:
        origin, commit = (
            subprocess.run(["git", *command], cwd=clone, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["config", "remote.origin.url"], ["rev-parse", "HEAD"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    parts = urlsplit(origin)
    if not parts.scheme or "{" in origin or (parts.scheme.startswith("http") and parts.username):  # may be a secret
        return None
    # Git is told a path as it is; and pip before 24.1 takes no URL without a host.
    origin = quote(origin, safe="/:@%~+").replace("file:///", "file://localhost/")
    return f"git+{origin}@{commit}#subdirectory={{folder}}"


class ExtensionHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the log call into the wheel, or beside its source if the installation is editable."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say in the wheel's tags what it then runs on."""
        root = Path(self.root)
        self._folder = tempfile.TemporaryDirectory(prefix="fedtrack-build-")
        built = Path(self._folder.name) / EXTENSION.name
        reason = why_pure() or compile_extension(root / SOURCE, built)
        if reason:
            self.app.display_warning(f"fedtrack: the log call is not compiled and stays in Python: {reason}")
        if version == "editable":
            place(built, root / EXTENSION)
        if not reason:
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform_tag()}"
            if version != "editable":
                build_data["force_include"][str(built)] = EXTENSION.relative_to("src").as_posix()

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled; the wheel has it."""
        self._folder.cleanup()


def why_pure() -> str:
    """Return why nothing is to be compiled, or ""."""
    if os.environ.get("FEDTRACK_PURE", "") not in ("", "0"):
        return "FEDTRACK_PURE is set"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} has no stable ABI"
    return ""


def compile_extension(source: Path, target: Path) -> str:
    """Compile for every CPython from 3.11 on; return why that failed, or ""."""
    linker = shlex.split(sysconfig.get_config_var("LDSHARED") or "cc -shared")
    if compiler := shlex.split(os.environ.get("CC", "")):
        linker[:1] = compiler
    flags = shlex.split(f"-O2 {sysconfig.get_config_var('CCSHARED') or '-fPIC'} {os.environ.get('CFLAGS', '')}")
    more = shlex.split(f"{os.environ.get('ARCHFLAGS', '')} {os.environ.get('LDFLAGS', '')}")
    command = [*linker, *flags, f"-I{sysconfig.get_path('include')}", str(source), "-o", str(target), *more]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{error.strerror}: {command[0]}"
    if done.returncode:
        return next((line for line in done.stderr.splitlines() if "error" in line), f"{command[0]} failed")
    return ""


def place(built: Path, target: Path) -> None:
    """Put what was compiled beside its source in one step: a process may be running with the one of before."""
    if not built.exists():
        target.unlink(missing_ok=True)
        return
    beside = target.with_name(f".{target.name}.{os.getpid()}.so")
    beside.write_bytes(built.read_bytes())
    beside.replace(target)


def platform_tag() -> str:
    """Return the platform's part of a wheel's tag; not manylinux, which only a build in its images can promise."""
    from packaging.tags import sys_tags

    return next(
        tag.platform for tag in sys_tags() if "manylinux" not in tag.platform and "musllinux" not in tag.platform
    )
