"""Scaffold: a new plugin project, written from the templates beside this file.

Every project has the files of ``templates/common`` and those of ``templates/<kind>``. A template's name ends in
``.template`` and its text is a ``string.Template``; ``MODULE`` in its path stands for the name of the module.
"""

from __future__ import annotations

import keyword
import re
from importlib.metadata import version
from pathlib import Path
from string import Template

from fedtrack.errors import ConfigError
from fedtrack.plugins import registry

TEMPLATES = Path(__file__).parent / "templates"
KINDS = ("receiver", "writer", "workflow", "hooks")

#: What a plugin of a kind needs, in the range of versions of this core.
_NEEDS = {"workflow": ("fedtrack", "fedtrack-local")}

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SUFFIX = ".template"


def write_project(name: str, kind: str = "receiver", folder: Path | None = None) -> Path:
    """Write a plugin project and return its folder.

    Args:
        name: The name that users will type; the distribution is called ``fedtrack-<name>``.
        kind: One of ``KINDS``.
        folder: The project's folder, which is created; None means ``./fedtrack-<name>``.

    Raises:
        ConfigError: The name is not valid or taken, or the folder is not empty.
    """
    name = name.removeprefix("fedtrack-")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} cannot name a plugin; use lower-case letters, digits and single '-', such as csv.")
    words = _words(name, kind)
    if keyword.iskeyword(words["class_name"]):
        raise ConfigError(f"{name!r} would name a class {words['class_name']}, a word of Python; choose another name.")
    taken = words["class_name"] if kind == "workflow" else name  # a workflow is known by its class
    if (owner := registry().owners.get((kind, taken))) is not None:
        raise ConfigError(
            f"A {kind} called {taken!r} is installed already ({owner.package}); two of one name disable each other, "
            "choose another one."
        )
    folder = folder or Path(f"fedtrack-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; choose another one with --dir.")
    try:
        for source in (TEMPLATES / "common", TEMPLATES / kind):
            for template in sorted(source.rglob(f"*{_SUFFIX}")):
                _write(template, source, folder, words)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; choose another folder with --dir.") from None
    return folder


def _words(name: str, kind: str) -> dict[str, str]:
    """Return the words that the templates may use, by name."""
    major, minor = version("fedtrack").split(".")[:2]
    cores = f">={major}.{minor},<{major}.{int(minor) + 1}"
    return {
        "name": name,
        "package": f"fedtrack-{name}",
        "module": f"fedtrack_{name.replace('-', '_')}",
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "dependencies": ", ".join(f'"{needed}{cores}"' for needed in _NEEDS.get(kind, ("fedtrack",))),
    }


def _write(template: Path, source: Path, folder: Path, words: dict[str, str]) -> None:
    relative = str(template.relative_to(source)).removesuffix(_SUFFIX).replace("MODULE", words["module"])
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(Template(template.read_text()).substitute(words))
