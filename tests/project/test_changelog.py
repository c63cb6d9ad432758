"""The fragments of changelog.d have the form that towncrier and a reader expect."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "changelog.d"
FRAGMENTS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["towncrier"]
KINDS = [kind["directory"] for kind in SETTINGS["type"]]


@pytest.fixture(scope="module")
def changelog() -> ModuleType:
    spec = importlib.util.spec_from_file_location("changelog", ROOT / "tools" / "changelog.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda path: path.name)
def test_a_fragment_is_one_short_paragraph(fragment: Path) -> None:
    found = re.fullmatch(r"[a-z0-9-]+\.([a-z]+)\.md", fragment.name)
    assert found, f"{fragment.name} is not called <name>.<kind>.md"
    assert found[1] in KINDS
    text = fragment.read_text()
    assert text.endswith(".\n")
    assert "\n\n" not in text
    assert len(text) <= 400
    assert max(map(len, text.splitlines())) <= 120


def test_every_kind_is_explained() -> None:
    table = re.findall(r"^\| `([a-z]+)` \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert table == KINDS


def test_every_fragment_comes_into_the_changelog(changelog: ModuleType) -> None:
    text = changelog.unreleased()
    assert text.startswith(f"## {changelog.version()} (unreleased)\n") == bool(FRAGMENTS)
    assert text.count("\n- ") == len(FRAGMENTS)
    for fragment in FRAGMENTS:
        assert " ".join(fragment.read_text().split()) in " ".join(text.split())


def test_the_unreleased_part_is_replaced_and_nothing_else(changelog: ModuleType) -> None:
    page = changelog.CHANGELOG.read_text()
    new = changelog.with_unreleased(page, "## 9.9 (unreleased)\n\n- New.\n")
    assert new.count("(unreleased)") == 1
    assert changelog.with_unreleased(new, "") == changelog.with_unreleased(page, "")
    assert SETTINGS["start_string"] in new
