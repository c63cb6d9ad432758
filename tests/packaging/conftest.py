"""The wheels and sdists of `make wheels`, built once, and environments that are made of them without the network."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from support.offline_index import link_modules, normalised, write_index
from support.venv import MEMBERS, ROOT, Venv, run, uv


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of wheels and sdists; each wheel is built from its sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for member in MEMBERS:
        run(uv(), "build", "--quiet", "--offline", "--out-dir", folder, member, cwd=ROOT)
    (core,) = folder.glob("fedtrack-[0-9]*.tar.gz")
    run(uv(), "build", "--quiet", "--offline", "--wheel", "--out-dir", folder, core, cwd=ROOT, FEDTRACK_PURE="1")
    return folder


class Site(Venv):
    """A clean environment; what is installed into it comes from the wheels and the offline index."""

    index: tuple[Path, ...] = ()

    def install(self, *requirements: str, cwd: Path | None = None) -> None:
        """Install requirements and their dependencies, as an index would give them."""
        links = [word for folder in self.index for word in ("--find-links", str(folder))]
        self.pip("install", "--no-index", *links, *requirements, cwd=cwd)
        link_modules(self)

    def packages(self) -> set[str]:
        """Return the names of what is installed."""
        return {normalised(d.name) for d in distributions(path=[str(self.site_packages)])}

    def fedtrack(self, *arguments: str, check: bool = True) -> str:
        """Run the command line and return what it prints, errors included."""
        done = self.run("-m", "fedtrack", *arguments, check=check)
        return done.stdout + done.stderr

    def listed(self, group: str) -> dict[str, dict[str, Any]]:
        """Return the rows of a listing by name."""
        return {row["name"]: row for row in json.loads(self.run("-m", "fedtrack", group, "list", "--json").stdout)}

    def states(self) -> dict[str, str]:
        """Return the state of each receiver."""
        return {name: row["state"] for name, row in self.listed("receivers").items()}


@pytest.fixture(scope="session")
def make_site(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Site]:
    """Return a builder of environments with the given requirements installed."""
    stubs = tmp_path_factory.mktemp("index") / "wheels"
    write_index(stubs)
    cache = tmp_path_factory.mktemp("cache")  # wheels without code must not get into the user's cache

    def make(*requirements: str, cwd: Path | None = None) -> Site:
        site = Site(tmp_path_factory.mktemp("site") / "venv", cache)
        site.index = (dist, stubs)
        site.install(*requirements, cwd=cwd)
        return site

    return make
