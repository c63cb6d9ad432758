"""Every example is found, is complete and can be read without the others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import fedtrack_examples
from fedtrack.plugins import registry

EXAMPLES = {example.name: example for example in fedtrack_examples.fedtrack_examples()}
PACKAGE = Path(fedtrack_examples.__file__).parent


def test_the_plugin_provides_every_folder() -> None:
    folders = {folder.name for folder in PACKAGE.iterdir() if "-" in folder.name}
    assert folders == EXAMPLES.keys()
    assert EXAMPLES.items() <= registry().examples.items()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_folder_is_complete(name: str) -> None:
    folder = EXAMPLES[name].folder
    files = {"job.py", "client.py", "README.md"} | ({"model.py"} if name != "hello-numpy" else set())
    assert files <= {file.name for file in folder.iterdir()}
    assert len((folder / "client.py").read_text().splitlines()) < 110


def statements(file: Path) -> list[str]:
    """Return a file's statements without its docstring."""
    return [ast.unparse(node) for node in ast.parse(file.read_text()).body[1:]]


def test_the_network_spelled_out_is_the_shared_one() -> None:
    spelled_out = statements(EXAMPLES["hello-pt-mlflow"].folder / "model.py")
    assert spelled_out == statements(PACKAGE / "simple_network.py")


def test_moving_receivers_does_not_change_the_script() -> None:
    server_side, site_side = (EXAMPLES[name].folder for name in ("hello-pt-mlflow", "hello-pt-mlflow-client"))
    assert statements(server_side / "client.py") == statements(site_side / "client.py")


def test_the_example_without_torch_stands_alone() -> None:
    """It is what a reader copies into an environment that has nothing but core and one plugin."""
    folder = EXAMPLES["hello-numpy"].folder
    sources = "".join(file.read_text() for file in folder.glob("*.py"))
    assert "torch" not in sources
    assert "fedtrack_examples" not in sources
