"""The pages of docs/decisions have one shape, and the index names each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "decisions"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
SECTIONS = ["Context", "Choice", "Consequence"]


def title_of(page: Path) -> tuple[str, str]:
    first = page.read_text().partition("\n")[0]
    found = re.fullmatch(r"# (\d{4}): (.+)", first)
    assert found, f"{page.name} begins with {first!r}, and not with '# {page.name[:4]}: the decision'"
    return found[1], found[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_context_choice_and_consequence(page: Path) -> None:
    number, _ = title_of(page)
    assert page.name.startswith(f"{number}-")
    _, *sections = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    assert sections[::2] == SECTIONS
    assert all(len(text.split()) >= 20 for text in sections[1::2])


def test_numbers_have_no_hole_and_are_used_once() -> None:
    assert [title_of(page)[0] for page in PAGES] == [f"{number:04}" for number in range(1, len(PAGES) + 1)]


def test_the_index_names_every_page_with_its_title() -> None:
    rows = re.findall(r"^\| \[(\d{4})\]\((.+?)\) \| (.+) \|$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert rows == [(number, page.name, title) for page in PAGES for number, title in [title_of(page)]]


def test_the_template_has_the_sections() -> None:
    template = (FOLDER / "README.md").read_text().partition("```markdown")[2].partition("```")[0]
    assert re.findall(r"^## (.+)$", template, re.MULTILINE) == SECTIONS
