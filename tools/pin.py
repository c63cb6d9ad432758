"""Pins: the resolved versions are written into constraints.txt and the root pyproject.toml, without the name of a host.

``uv.lock`` contains the name of the registry, so it is not in the repository; these two files pin the same versions for
pip and for uv. Run by ``make pin``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
PROJECT = ROOT / "pyproject.toml"
_BLOCK = re.compile(r"constraint-dependencies = \[\n(?:  .*\n)*\]\n")


def exported(uv: str) -> list[str]:
    """Return the versions that uv has resolved, one requirement per line."""
    flags = "--all-packages --all-extras --all-groups --no-hashes --no-emit-local --no-header --no-annotate"
    done = subprocess.run([uv, "export", "-q", *flags.split()], cwd=ROOT, capture_output=True, text=True, check=True)
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _quoted(line: str) -> str:
    return f"'{line}'" if '"' in line else f'"{line}"'


def main() -> None:
    """Resolve all versions again and write both files."""
    uv = sys.argv[1] if len(sys.argv) > 1 else "uv"
    text = PROJECT.read_text()
    PROJECT.write_text(_BLOCK.sub("constraint-dependencies = [\n]\n", text))
    (ROOT / "uv.lock").unlink(missing_ok=True)
    lines = exported(uv)
    CONSTRAINTS.write_text("\n".join(lines) + "\n")
    block = "constraint-dependencies = [\n" + "".join(f"  {_quoted(line)},\n" for line in lines) + "]\n"
    PROJECT.write_text(_BLOCK.sub(lambda _: block, PROJECT.read_text()))


if __name__ == "__main__":
    main()
