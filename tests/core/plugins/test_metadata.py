"""Only the head of a distribution's metadata is read, and it is empty if the file is damaged."""

from __future__ import annotations

from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from fedtrack.plugins.metadata import Package, package_of

HEAD = """Metadata-Version: 2.4
Name: fedtrack-csv
Version: 1.2
Summary: Rows: and columns.
License: one line
        Name: a continued line is no field
Requires-Dist: fedtrack>=0.1,<0.2
Requires-Dist: numpy
"""

README = """
Name: not this
Requires-Dist: fedtrack>=99
"""

FOUND = Package("fedtrack-csv", "1.2", "Rows: and columns.", ("fedtrack>=0.1,<0.2", "numpy"))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (HEAD + README, FOUND),
        (HEAD.replace("\n", "\r\n"), FOUND),
        ("", Package("", "", "", ())),
        ("no colon\n: no name\n", Package("", "", "", ())),
    ],
)
def test_the_head_is_read_and_the_description_is_not(tmp_path: Path, text: str, found: Package) -> None:
    (tmp_path / "METADATA").write_text(text, newline="")
    assert package_of(PathDistribution(tmp_path)) == found


def test_an_egg_is_read_as_importlib_does(tmp_path: Path) -> None:
    (tmp_path / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: old-csv\nVersion: 0.9\n")
    (tmp_path / "requires.txt").write_text("fedtrack>=99\n")
    assert package_of(PathDistribution(tmp_path)) == Package("old-csv", "0.9", "", ("fedtrack>=99",))
