"""A package index without a network: the packages of the development environment, as wheels with little but metadata.

An installer resolves against them as against a real index, dependencies and extras included. ``link_modules`` then
links each chosen package to its code in the development environment, so that nothing large is copied.
"""

from __future__ import annotations

import re
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path

from support.venv import DEVELOPMENT, Venv

#: Needed with their code while something is built, before ``link_modules`` can give it.
_BUILD_BACKENDS = {"hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}

_WHEEL = "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write_index(folder: Path) -> None:
    """Write a wheel of each third-party distribution of the development environment."""
    folder.mkdir()
    for distribution in _third_party().values():
        _write_wheel(distribution, folder)


def link_modules(venv: Venv) -> None:
    """Give the third-party distributions that were installed their modules."""
    known = _third_party()
    for installed in distributions(path=[str(venv.site_packages)]):
        original = known.get(normalised(installed.name))
        for top in sorted(_top_level(original)) if original else []:
            link = venv.site_packages / top
            if not link.exists():
                link.symlink_to(DEVELOPMENT / top)


def normalised(name: str) -> str:
    """Return a distribution's name as installers compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _third_party() -> dict[str, Distribution]:
    found = {normalised(d.name): d for d in distributions(path=[str(DEVELOPMENT)])}
    return {name: d for name, d in found.items() if not name.startswith("fedtrack")}


def _write_wheel(distribution: Distribution, folder: Path) -> None:
    stem = f"{normalised(distribution.name).replace('-', '_')}-{distribution.version}"
    files = {"METADATA": distribution.read_text("METADATA"), "WHEEL": _WHEEL}
    files["entry_points.txt"] = distribution.read_text("entry_points.txt")
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        names = [f"{stem}.dist-info/{name}" for name, text in files.items() if text]
        for name, text in zip(names, filter(None, files.values()), strict=True):
            wheel.writestr(name, text)
        for file in _code(distribution) if normalised(distribution.name) in _BUILD_BACKENDS else ():
            wheel.write(DEVELOPMENT / file, file)
            names.append(str(file))
        record = f"{stem}.dist-info/RECORD"
        wheel.writestr(record, "".join(f"{name},,\n" for name in [*names, record]))


def _code(distribution: Distribution) -> list[Path]:
    files = [Path(file) for file in distribution.files or ()]
    return [file for file in files if not file.parts[0].endswith(".dist-info") and file.suffix != ".pyc"]


def _top_level(distribution: Distribution) -> set[str]:
    tops = {file.parts[0] for file in distribution.files or ()}
    return {top for top in tops if top != ".." and not top.endswith(".dist-info") and top != "__pycache__"}
