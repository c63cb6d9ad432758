"""The code on the page "Writing a receiver" runs unchanged, and is the same as in a new project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedtrack.scaffold import write_project
from fedtrack.testing.laws.laws import Laws
from fedtrack.tracking.records import KINDS
from support.pages import files_on
from support.venv import ROOT, Venv

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "plugins" / "writing-a-receiver.md").read_text()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's first command writes."""
    return write_project("notebook", "receiver", tmp_path_factory.mktemp("page") / "fedtrack-notebook")


def test_the_page_shows_what_a_new_project_holds(project: Path) -> None:
    shown = files_on(PAGE)
    assert set(shown) == {
        "src/fedtrack_notebook/__init__.py",
        "src/fedtrack_notebook/receiver.py",
        "tests/test_receiver.py",
    }
    for name, text in shown.items():
        assert text == (project / name).read_text()
    assert 'notebook = "fedtrack_notebook"' in (project / "pyproject.toml").read_text()


@pytest.mark.xdist_group("scaffold")
def test_the_code_on_the_page_keeps_the_laws(project: Path, tmp_path: Path) -> None:
    for name, text in files_on(PAGE).items():
        (project / name).write_text(text)
    venv = Venv(tmp_path / "venv")
    venv.see_development()
    venv.pip("install", "--no-index", "--no-deps", "--editable", project)
    output = venv.run("-m", "pytest", "-p", "no:cacheprovider", cwd=project).stdout
    assert re.search(r"2\d passed", output), output
    check = re.search(r"^fedtrack (receivers check notebook --args) '(.*)'$", PAGE, re.MULTILINE)
    assert check
    assert venv.run("-m", "fedtrack", *check[1].split(), check[2]).stdout.count(" ok ") == 4


def test_the_page_lists_every_kind_with_its_fields() -> None:
    rows = {row[0]: re.findall(r"`(\w+)`", row[1]) for row in re.findall(r"^\| `([A-Z]\w+)` \| (.*) \|$", PAGE, re.M)}
    assert rows == {kind.__name__: list(kind.__struct_fields__[1:]) for kind in KINDS.values()}


def test_the_page_lists_what_a_contract_can_declare() -> None:
    declared = {name: value for name, value in vars(Laws).items() if name in Laws.__annotations__ and name != "run"}
    rows = re.findall(
        r"^\| `([a-z_]+)` \| `([^`]+)` \| (?:the backend|one law)|^\| `([a-z_]+)` \| `([^`]+)` \| it keeps", PAGE, re.M
    )
    shown = {name or other: value or default for name, value, other, default in rows}
    assert shown == {name: str(value) for name, value in declared.items()}
