"""Table: the rows of the matrix in docs/reliability.md; ``python tests/faults/table.py --write`` writes them."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from faults.rows import ROWS, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- written by tests/faults/table.py -->\n", "<!-- end of the matrix -->\n"


def table() -> str:
    """Return the rows in Markdown."""
    lines = ["| fault | when | exit code of the run | then | all events arrive |", "|---|---|---|---|---|"]
    lines += [f"| {row.what} | {row.when} | {_codes(row)} | {_cure(row)} | {_arrival(row)} |" for row in ROWS]
    return "\n".join(lines) + "\n"


def _codes(row: Row) -> str:
    return " or ".join(str(code if code >= 0 else f"signal {-code}") for code in row.codes) or "any that is true"


def _cure(row: Row) -> str:
    commands = [" ".join(word for word in command if word not in ("RUN", "kill")) for command in row.cure]
    killed = [f"`fedtrack {one}`{', killed' if row.cure[at][0] == 'kill' else ''}" for at, one in enumerate(commands)]
    return ", then ".join(killed) or "nothing"


def _arrival(row: Row) -> str:
    return "yes" if row.lossless else "all but what is said to be lost"


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
