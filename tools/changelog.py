"""The changelog: CHANGELOG.md is written by towncrier from the fragments in changelog.d.

    python tools/changelog.py                          # the part "unreleased"; the fragments stay
    python tools/changelog.py --released 2026-12-31    # a release of it; the fragments are removed

Run by ``make changelog``. The version is core's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHANGELOG = ROOT / "CHANGELOG.md"
BEGIN, END = "<!-- unreleased, written by make changelog -->\n", "<!-- end -->\n"


def version() -> str:
    """Return the version of core, which is the one under development."""
    return str(tomllib.loads((ROOT / "core" / "pyproject.toml").read_text())["project"]["version"])


def towncrier(*options: str) -> str:
    """Run ``towncrier build`` and return its output."""
    command = [sys.executable, "-m", "towncrier", "build", "--version", version(), *options]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def unreleased() -> str:
    """Return the changes in the fragments as Markdown; "" if there are none."""
    text = towncrier("--draft", "--date", "unreleased").strip() + "\n"
    return text if "\n- " in text else ""


def with_unreleased(changelog: str, changes: str) -> str:
    """Return ``changelog`` with ``changes`` as its unreleased part."""
    before, _, rest = changelog.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise SystemExit(f"{CHANGELOG} has no part between {BEGIN.strip()!r} and {END.strip()!r}; add the two lines.")
    return f"{before}{BEGIN}\n{changes}\n{END}{after}" if changes else f"{before}{BEGIN}{END}{after}"


def main() -> None:
    """Write the unreleased part, or release it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--released", metavar="DATE", help="the day of the release, such as 2026-12-31")
    released = parser.parse_args().released
    changes = "" if released else unreleased()
    CHANGELOG.write_text(with_unreleased(CHANGELOG.read_text(), changes))
    if released:
        towncrier("--yes", "--date", released)


if __name__ == "__main__":
    main()
