"""Rules for every distribution of the repository."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOME = "https://github.com/fedtrack/fedtrack"
DISTRIBUTIONS = sorted(
    path.parent
    for pattern in ("core", "plugins/*", "examples", "examples/third-party-*")
    for path in ROOT.glob(f"{pattern}/pyproject.toml")
)


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_distribution_says_where_it_comes_from(folder: Path) -> None:
    urls = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["urls"]
    assert urls == {
        "Homepage": HOME,
        "Documentation": f"{HOME}/tree/main/docs",
        "Source": f"{HOME}/tree/main/{folder.relative_to(ROOT).as_posix()}",
        "Changelog": f"{HOME}/blob/main/CHANGELOG.md",
        "Issues": f"{HOME}/issues",
    }


def test_every_project_is_looked_at() -> None:
    found = {path.name for path in DISTRIBUTIONS}
    assert {"core", "mlflow", "nvflare", "tensorboard", "ui", "wandb", "examples"} <= found
