"""Remedy: the command that installs a distribution, in a form that works in this environment.

``pip install 'fedtrack[mlflow]'`` is right if fedtrack came from an index. If it came from a clone, the index may have
no fedtrack, or another one. An environment of uv has no pip. And a pip on the path may belong to another environment,
because an environment can be used without being activated.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

CORE = "fedtrack"

#: The distributions in core's repository that need nothing but core.
_ALONE = re.compile(r"fedtrack-(tensorboard|mlflow|wandb|local)", re.IGNORECASE)
#: The distributions that core's extra of that name installs, with their further requirements.
_BY_EXTRA = re.compile(r"fedtrack-(tensorboard|mlflow|wandb|nvflare|examples)(\[receiver\])?", re.IGNORECASE)
_WITH_EXTRAS = re.compile(r"\A\s*([A-Za-z0-9][\w.-]*)\s*(?:(\[[^]]*\])\s*)?")


class Origin(NamedTuple):
    """The place from which a distribution was installed, if it was not an index.

    Attributes:
        folder: A folder of this machine, or "".
        editable: Whether the code in the folder itself is run.
        url: A repository's URL in pip's form, or "".
    """

    folder: str = ""
    editable: bool = False
    url: str = ""

    def requirement(self, name: str, extras: str) -> list[str]:
        """Return an installer's arguments for the distribution ``name`` and ``extras`` (``"[mlflow]"`` or ``""``)."""
        if self.folder:
            return ["-e"] * self.editable + [self.folder + extras]
        return [f"{name}{extras} @ {self.url}" if self.url else name + extras]

    def beside(self, folder: str) -> Origin:
        """Return the origin of a distribution in ``folder`` of this clone; this is the origin of core."""
        return Origin(
            self.folder and str(Path(self.folder).parent / folder),
            self.editable,
            self.url and f"{self.url.partition('#')[0]}#subdirectory={folder}",
        )


def install(*requirements: str, upgrade: bool = False) -> str:
    """Return the command that installs distributions into this environment, each from its own origin.

    Args:
        requirements: Names with or without extras, such as ``fedtrack[mlflow]``. A name with a version stays unchanged.
        upgrade: Whether a newer version than the installed one is wanted.
    """
    words = [word for requirement in requirements for word in _words(requirement)]
    return install_here(*["--upgrade"] * upgrade, *dict.fromkeys(words))


def install_here(*words: str) -> str:
    """Return the command that installs with an installer's own arguments in ``words``, such as ``-e .``."""
    return " ".join([*_installer("install"), *map(shlex.quote, words)])


def uninstall(name: str) -> str:
    """Return the command that removes a distribution from this environment."""
    return " ".join([*_installer("uninstall"), shlex.quote(name)])


def repair(name: str) -> str:
    """Return the command that may repair a broken distribution; "" if there is none.

    There is none for an editable installation, because its code is being edited.
    """
    origin = origin_of(name)
    if origin.editable:
        return ""
    return install(name, upgrade=not origin.folder)


def rebuild() -> str:
    """Return the command that builds core again on this machine, without an installer's cache."""
    origin = origin_of(CORE)
    words = ["--no-cache-dir"] if has_pip() else ["--refresh-package", CORE]
    words += ["--force-reinstall", "--no-deps", *origin.requirement(CORE, "")]
    if origin == Origin():
        words[-1:] = ["--no-binary", CORE, CORE]
    return install_here(*words)


def adapted(command: str) -> str:
    """Return a plugin's own ``pip install ...`` in a form that works here; other commands stay unchanged."""
    try:
        first, second, *words = shlex.split(command)
    except ValueError:  # one word, or a quote that is not closed
        return command
    plain = (first, second) == ("pip", "install") and words and all(_WITH_EXTRAS.fullmatch(word) for word in words)
    return install(*words) if plain else command


def origin_of(name: str) -> Origin:
    """Return the origin of an installed distribution; an empty one if it came from an index or is missing."""
    try:
        text = Distribution.from_name(name).read_text("direct_url.json")
        recorded = json.loads(text) if text else {}
    except (PackageNotFoundError, ValueError):
        return Origin()
    return _origin(recorded)


def _origin(recorded: dict[str, object]) -> Origin:
    url = str(recorded.get("url", ""))
    directory, repository = recorded.get("dir_info"), recorded.get("vcs_info")
    if isinstance(directory, dict) and url.startswith("file:"):
        folder = unquote(urlsplit(url).path)
        # A removed clone cannot be used; only the index remains.
        return Origin(folder, bool(directory.get("editable"))) if Path(folder).is_dir() else Origin()
    if isinstance(repository, dict):
        commit = repository.get("commit_id")
        inside = f"#subdirectory={recorded['subdirectory']}" if recorded.get("subdirectory") else ""
        # pip records a path unchanged, and before 24.1 it takes no URL without a host.
        url = quote(url, safe="/:@%~+").replace("file:///", "file://localhost/")
        return Origin(url=f"{repository.get('vcs', 'git')}+{url}@{commit}{inside}")
    return Origin()


def _words(requirement: str) -> list[str]:
    match = _WITH_EXTRAS.fullmatch(requirement)
    if match is None:
        return [requirement]
    name, extras = match[1], match[2] or ""
    core = origin_of(CORE)
    if core != Origin() and name != CORE:
        # The other distributions come from the same place: an index may not have them, or may have others.
        if alone := _ALONE.fullmatch(name + extras):
            return core.beside(f"plugins/{alone[1].lower()}").requirement(name, "")
        if by_extra := _BY_EXTRA.fullmatch(name + extras):
            return core.requirement(CORE, f"[{by_extra[1].lower()}]")
    return origin_of(name).requirement(name, extras)


@cache
def has_pip() -> bool:
    """Return whether this environment has pip; environments of uv have none."""
    return find_spec("pip") is not None


def _installer(command: str) -> list[str]:
    if has_pip():
        # The pip on the path belongs to this environment only if it is beside this Python.
        found = shutil.which("pip")
        if found and Path(found).parent == Path(sys.executable).parent:
            return ["pip", command]
        return [shlex.quote(sys.executable), "-m", "pip", command]
    if Path(os.environ.get("VIRTUAL_ENV", ".venv")).resolve() == Path(sys.prefix).resolve():
        return ["uv", "pip", command]  # uv finds this environment by itself
    return ["uv", "pip", command, "--python", shlex.quote(sys.executable)]
