"""Tests mirror source files, so that a test that fails points at the file to look into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Where the tests of a distribution's modules are.
HOMES = {
    ROOT / "core" / "src" / "fedtrack": ROOT / "tests" / "core",
    ROOT / "plugins" / "local" / "src" / "fedtrack_local": ROOT / "tests" / "plugins" / "local",
}

#: Shorter modules have little that could fail by itself.
LINES = 60

#: Modules whose tests are elsewhere, and where; as short as can be.
EXCEPTIONS = {}


def modules() -> Iterator[tuple[Path, Path, str]]:
    """Yield each long module, the folder of its tests and its name as an exception would have it."""
    for source, tests in HOMES.items():
        for path in sorted(source.rglob("*.py")):
            inside = path.relative_to(source)
            if path.name != "__init__.py" and len(path.read_text().splitlines()) > LINES:
                yield path, tests / inside.parent, f"{source.name}/{inside}"


def namesakes(module: Path, folder: Path) -> list[Path]:
    """Return ``test_<module>.py`` and ``test_<module>_<aspect>.py``, but not what is a longer-named neighbour's."""
    neighbours = {path.stem for path in module.parent.glob(f"{module.stem}_*.py")}
    found = [*folder.glob(f"test_{module.stem}.py"), *folder.glob(f"test_{module.stem}_*.py")]
    return [path for path in found if not any(path.stem.startswith(f"test_{name}") for name in neighbours)]


@pytest.mark.parametrize(("module", "folder", "name"), [pytest.param(*found, id=found[2]) for found in modules()])
def test_a_module_has_a_test_of_its_name(module: Path, folder: Path, name: str) -> None:
    if name in EXCEPTIONS:
        assert not namesakes(module, folder), f"{name} has a test now; take it off EXCEPTIONS"
        return
    assert namesakes(module, folder), (
        f"write {folder.relative_to(ROOT)}/test_{module.stem}.py, or name it in EXCEPTIONS"
    )


def test_every_exception_is_a_module_and_names_tests_that_exist() -> None:
    assert set(EXCEPTIONS) <= {name for _, _, name in modules()}
    for name, where in EXCEPTIONS.items():
        assert (ROOT / where.split(":")[0]).exists(), name
