"""Patterns: every regular expression of the project is linear in texts that a site, a job or a backend may send."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fedtrack.deadline import OutOfTime, deadline

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("core/src", "plugins/*/src", "examples")

#: Parts of which a search begins again and again, where a pattern can do so.
PIECES = (
    " ",
    "_",
    "a",
    "A",
    "0",
    ".",
    "-",
    "/",
    ":",
    "=",
    "&",
    "[",
    ";",
    "?",
    "@",
    "a=",
    "A_",
    "://",
    "a.",
    "_ ",
)
LENGTH = 40_000


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return each pattern that is a constant in a file, with its place."""
    found = []
    for source in SOURCES:
        for path in sorted(p for folder in ROOT.glob(source) for p in folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not (isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.") and node.args):
                    continue
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    flags = re.DOTALL if "DOTALL" in ast.unparse(node) else 0
                    flags |= re.IGNORECASE if "re.I" in ast.unparse(node) else 0
                    found.append((f"{path.name}:{node.lineno}", re.compile(first.value, flags)))
    return found


@pytest.mark.threat("T2", "T5")
@pytest.mark.parametrize(("place", "pattern"), [pytest.param(*one, id=one[0]) for one in patterns()])
def test_a_pattern_is_linear(place: str, pattern: re.Pattern[str]) -> None:
    with deadline(20):  # a quadratic one takes minutes
        for piece in PIECES:
            text = piece * (LENGTH // len(piece))
            pattern.search(text + "!")


def test_a_quadratic_pattern_is_noticed() -> None:
    with pytest.raises(OutOfTime), deadline(0.5):
        re.compile(" *_+ *").search(" " * 200_000)
