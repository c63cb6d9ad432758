"""The names that are public, as the page of promises lists them, and as the modules have them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from support.venv import ROOT

_PAGE = (ROOT / "docs" / "plugins" / "stability.md").read_text()

#: Every table of the page's section, by the first words of the sentence before it: public names by module.
_SECTION = _PAGE.partition("## What is public")[2].partition("## How things change")[0]


def documented(audience: str) -> dict[str, list[str]]:
    """Return the public names by module that the table for an audience shows: ``For jobs``, ``For engines``, ..."""
    table = _SECTION.partition(f"\n{audience}")[2].partition("\n\nFor ")[0]
    rows = re.findall(r"^\| `(\w+(?:\.\w+)*)` \| (.*) \|$", table, re.MULTILINE)
    return {module: re.findall(r"`(\w+)`", names) for module, names in rows}


def exported(module: str) -> list[str]:
    """Return what a module says is public; without ``__all__``, what it defines and does not begin with ``_``."""
    loaded = import_module(module)
    if hasattr(loaded, "__all__"):
        return sorted(loaded.__all__)
    own = [name for name, value in vars(loaded).items() if getattr(value, "__module__", module) == module]
    # A module spells TYPE_CHECKING out where the import of typing would cost too much.
    return sorted(
        name for name in own if name != "TYPE_CHECKING" and not name.startswith("_") and _is_defined(module, name)
    )


def _is_defined(module: str, name: str) -> bool:
    path = import_module(module).__file__
    assert path is not None
    text = Path(path).read_text()
    return bool(re.search(rf"^(?:class|def) {name}\b|^{name}(?::.*)? = ", text, re.MULTILINE))
