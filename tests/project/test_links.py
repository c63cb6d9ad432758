"""Every relative link in a Markdown file leads to a file, a folder or a heading that exists."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[2]


def markdown_files() -> list[Path]:
    # Also what is not committed yet, but nothing that git ignores: environments hold Markdown of others.
    command = ["git", "ls-files", "-co", "--exclude-standard", "*.md"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(ROOT / name for name in names if (ROOT / name).is_file())


def prose_of(text: str) -> str:
    """Return ``text`` without its blocks and spans of code, in which brackets mean something else."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"<!--.*?-->", "", re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text), flags=re.DOTALL)


def links_of(text: str) -> list[str]:
    prose = prose_of(text)
    inline = re.findall(r"\]\(\s*<?([^()\s>]+(?:\([^()\s]*\)[^()\s]*)*)>?(?:\s+[\"'][^)]*)?\)", prose)
    defined = re.findall(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)", prose, re.MULTILINE)
    html = re.findall(r"\b(?:href|src)=\"([^\"]+)\"", prose)
    return [link for link in inline + defined + html if not re.match(r"[a-z][a-z0-9+.-]*:|//", link, re.IGNORECASE)]


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


@cache
def anchors_of(page: Path) -> frozenset[str]:
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    seen: Counter[str] = Counter()
    anchors = set(re.findall(r"\b(?:id|name)=\"([^\"]+)\"", text))
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)?$", text, re.MULTILINE):
        name = slug(heading)
        anchors.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return frozenset(anchors)


def target_of(path: str, page: Path, root: Path) -> Path:
    if path.startswith("/"):
        return root / path.lstrip("/")
    return page.parent / path if path else page


def broken_links(page: Path, root: Path = ROOT) -> list[str]:
    broken = []
    for link in links_of(page.read_text()):
        path, _, anchor = unquote(link).partition("#")
        target = target_of(path, page, root)
        leads_there = target.resolve().is_relative_to(root.resolve()) and target.exists()
        if leads_there and anchor and target.suffix == ".md":
            leads_there = anchor in anchors_of(target.resolve())
        if not leads_there:
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", markdown_files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_the_checker_tells_good_links_from_broken_ones(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Some `code` & more\n\n# Twice\n\n# Twice\n\n```\n# no heading\n```\n")
    (tmp_path / "a (b).md").touch()
    good = ["other.md", "other.md#some-code--more", "other.md#twice-1", "#here", "/other.md", "a%20(b).md", "."]
    bad = ["none.md", "other.md#none", "other.md#no-heading", "#nowhere", "/none.md", "../", "other.md#twice-2"]
    lines = [f"[text]({link})" for link in [*good, *bad, "https://example.org/none", "mailto:a@example.org"]]
    lines += ['\n[named]: none.txt "title"\n', '<a href="none.html">x</a>']
    hidden = ["`[code](none.md)`", "\n```\n[code](none.md)\n```\n", "<!-- [hidden](none.md) -->"]
    page = tmp_path / "page.md"
    page.write_text("\n".join(["# Here\n", *lines, *hidden]))
    assert broken_links(page, tmp_path) == [*bad, "none.txt", "none.html"]
