"""Vendored files: the page's uPlot, and the axe-core of its tests, compared with what npm has.

python tools/vendor.py            # is uPlot in the repository the one of npm?
python tools/vendor.py --write    # replace it by npm's
python tools/vendor.py axe        # fetch axe-core into build/, for tests/plugins/ui/test_browser.py
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "plugins" / "ui" / "src" / "fedtrack_ui" / "static"

#: Package and version, and where each of its files belongs. A new version is written here, and then fetched.
UPLOT = (
    "uplot@1.6.32",
    {
        "package/dist/uPlot.iife.min.js": STATIC / "uplot.js",
        "package/dist/uPlot.min.css": STATIC / "uplot.css",
        "package/LICENSE": STATIC / "uplot.LICENSE.txt",
    },
)
AXE = ("axe-core@4.14.1", {"package/axe.min.js": ROOT / "build" / "axe.min.js"})


def files_of(package: str) -> dict[str, bytes]:
    """Return the files of a package; npm checks them against the digest of its index."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--pack-destination", folder, package]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as content:
            return {one.name: content.extractfile(one).read() for one in content if one.isfile()}  # type: ignore[union-attr]


def main(arguments: list[str]) -> int:
    """Compare or write; return 1 if a file differs."""
    package, places = AXE if "axe" in arguments else UPLOT
    found, write = files_of(package), "--write" in arguments or "axe" in arguments
    different = [place for name, place in places.items() if not place.exists() or place.read_bytes() != found[name]]
    for name, place in places.items():
        if write and place in different:
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(found[name])
    for place in different:
        print(f"{place.relative_to(ROOT)}: {'written' if write else 'is not that of ' + package}")
    return int(bool(different) and not write)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
