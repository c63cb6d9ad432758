"""Every distribution besides core takes from others what the page of promises calls public, and nothing else."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.public_names import documented
from support.venv import ROOT

JOBS, LOCAL, ENGINES = (documented(audience) for audience in ("For jobs", "For workflows", "For engines"))

#: Where the sources of a distribution lie, and what it may import of fedtrack's other distributions.
SOURCES = {
    "plugins/local/src": JOBS | ENGINES,
    "plugins/nvflare/src": JOBS | ENGINES | LOCAL,
    "plugins/flower/src": JOBS,
    "plugins/lightning/src": JOBS,
    "plugins/loops/src": JOBS,
    "plugins/transformers/src": JOBS,
    "plugins/tensorboard/src": JOBS,
    "plugins/mlflow/src": JOBS,
    "plugins/wandb/src": JOBS,
    "plugins/ui/src": JOBS | ENGINES,
    "examples": JOBS,
}


def imports(file: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, module and name of everything that a file imports; the name is "" for a module as a whole."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, node.module, alias.name) for alias in node.names)


def is_public(module: str, name: str, public: dict[str, list[str]]) -> bool:
    """Say whether the name of the module is public, or the name is that of a public module."""
    if f"{module}.{name}" in public or (not name and module in public):
        return True
    return module in public and (not public[module] or name in public[module])


def faults(folder: str) -> list[str]:
    found = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        own = {path.name for path in file.parents if path.name.startswith("fedtrack")}
        for line, module, name in imports(file):
            root = module.partition(".")[0]
            foreign = root in ("fedtrack", "fedtrack_local") and root not in own
            if foreign and not is_public(module, name, SOURCES[folder]):
                found.append(f"{file.relative_to(ROOT)}:{line}: {module} {name}".rstrip())
    return found


@pytest.mark.parametrize("folder", SOURCES)
def test_only_public_names_are_imported(folder: str) -> None:
    assert faults(folder) == []


def test_no_distribution_is_forgotten() -> None:
    folders = {f"plugins/{path.parent.name}/src" for path in (ROOT / "plugins").glob("*/pyproject.toml")}
    assert folders | {"examples"} == set(SOURCES)


@pytest.mark.parametrize(
    ("module", "name", "allowed"),
    [
        ("fedtrack", "Receiver", True),
        ("fedtrack.client", "tracking", True),
        ("fedtrack.client", "", True),
        ("fedtrack.tracking.records", "Metric", True),
        ("fedtrack", "_HOMES", False),
        ("fedtrack.job", "Component", False),
        ("fedtrack.job.load", "load_job", False),
        ("fedtrack.spool", "Spool", False),
        ("fedtrack.tracking", "normalise", False),
    ],
)
def test_the_check_can_fail(module: str, name: str, allowed: bool) -> None:
    assert is_public(module, name, JOBS) is allowed
