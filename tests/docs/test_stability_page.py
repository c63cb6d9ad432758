"""The page of promises names existing parts only, and all of them."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from fedtrack.plugins import SUPPORTED_APIS, State
from fedtrack.tracking.receiver import Receiver
from support.public_names import documented, exported
from support.venv import ROOT

PAGE = (ROOT / "docs" / "plugins" / "stability.md").read_text()


AUDIENCES = {audience: documented(audience) for audience in ("For jobs", "For workflows", "For engines")}
MODULES = [(module, names) for table in AUDIENCES.values() for module, names in table.items()]


@pytest.mark.parametrize(("module", "names"), MODULES, ids=[module for module, _ in MODULES])
def test_the_public_names_are_those_that_a_module_exports(module: str, names: list[str]) -> None:
    loaded = import_module(module)
    assert not names or names == exported(module)
    for name in names:  # lazy names, too: what they stand for exists
        assert getattr(loaded, name) is not None


@pytest.mark.parametrize(("module", "names"), MODULES, ids=[module for module, _ in MODULES])
def test_no_public_name_is_that_of_a_module_beside_it(module: str, names: list[str]) -> None:
    """Once such a module is imported, the package gives it out in place of what the name stands for."""
    file = import_module(module).__file__
    assert file is not None
    if file.endswith("__init__.py"):
        assert not {path.stem for path in Path(file).parent.glob("*")} & set(names)


def test_every_package_of_core_that_has_public_names_is_on_the_page() -> None:
    packages = {path.parent.name for path in (ROOT / "core" / "src" / "fedtrack").glob("*/__init__.py")}
    with_names = {name for name in packages if hasattr(import_module(f"fedtrack.{name}"), "__all__")}
    assert {f"fedtrack.{name}" for name in with_names} <= {module for module, _ in MODULES}
    assert len(AUDIENCES["For engines"]) > 5
    assert "fedtrack_local" in AUDIENCES["For workflows"]


def test_every_state_is_explained() -> None:
    section = PAGE.partition("## States")[2].partition("| variable")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == {state.value for state in State}


def test_the_api_number_is_the_current_one() -> None:
    (number,) = re.findall(r"written for: `(\d+)` now", PAGE)
    assert int(number) == max(SUPPORTED_APIS) == Receiver.api


def test_every_variable_of_the_loader_is_explained() -> None:
    source = (ROOT / "core" / "src" / "fedtrack" / "plugins" / "loader.py").read_text()
    read = set(re.findall(r'environ\.get\("(FEDTRACK_\w+)"', source))
    assert set(re.findall(r"^\| `(FEDTRACK_\w+)` \|", PAGE, re.MULTILINE)) == read
