"""Table: threats, defences and tests in docs/security.md; ``python tests/security/table.py --write`` writes it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from security.threats import SAME_USER, THREATS, Threat

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- written by tests/security/table.py -->\n", "<!-- end of the table -->\n"


def table() -> str:
    """Return the rows in Markdown."""
    lines = ["| | threat | defence | tests | state |", "|---|---|---|---|---|"]
    lines += [f"| {row.id} | {row.what} | {row.defence} | {_tests(row)} | {state(row)} |" for row in THREATS]
    return "\n".join(lines) + "\n"


def state(row: Threat) -> str:
    """Return whether the threat is met, as far as its tests show."""
    if not marked().get(row.id):
        return "**open:** no test shows it."
    if row.gaps:
        return f"**open:** {' '.join(row.gaps)}"
    return f"defended; {SAME_USER}" if row.same_user else "defended"


def _tests(row: Threat) -> str:
    found = marked().get(row.id, [])
    files = {path: sum(1 for other, _ in found if other == path) for path, _ in found}
    return "<br>".join(
        f"[{Path(path).name}](../{path}){f' ({count})' if count > 1 else ''}" for path, count in files.items()
    )


@cache
def marked() -> dict[str, list[tuple[str, str]]]:
    """Return for each threat the file and the name of every test that is marked with it, without running any."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in sorted([*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("examples/**/test_*.py")]):
        text = path.read_text()
        if "mark.threat(" in text:
            for threat, test in _marks(ast.parse(text)):
                found.setdefault(threat, []).append((str(path.relative_to(ROOT)), test))
    return found


def _marks(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the threats of a file's ``pytestmark``, its functions and its classes."""
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from ((threat, node.name) for decorator in node.decorator_list for threat in _threats(decorator))
        elif isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets
        ):
            yield from ((threat, "") for part in ast.walk(node.value) for threat in _threats(part))


def _threats(node: ast.AST) -> Iterator[str]:
    """Yield the arguments of ``pytest.mark.threat("T3", "T5")``."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "threat":
        yield from (str(ast.literal_eval(argument)) for argument in node.args)


def written() -> str:
    """Return the table that the page has."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    """Print the table, or write it into the page."""
    if "--write" not in sys.argv:
        print(table(), end="")
        return
    head, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(head + BEGIN + table() + END + rest.partition(END)[2])


if __name__ == "__main__":
    main()
