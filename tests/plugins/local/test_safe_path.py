"""What lies in the current directory is neither imported nor executed; a script's own folder is its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import MakeJob

ROOT = Path(__file__).parents[3]

#: Names of modules that fedtrack, its dependencies and its children import after Python's own start.
PLANTED = [
    *("random", "selectors", "socket", "signal", "typing", "re", "enum", "json", "tempfile", "dataclasses", "copy"),
    *("subprocess", "multiprocessing", "sqlite3", "numpy", "torch", "msgspec", "pluggy", "typer", "rich"),
    *("sitecustomize", "usercustomize", "fedtrack_evil", "fedtrack_local"),
]


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a file for each module that leaves a trace when it is imported."""
    folder = tmp_path / "trapped"
    folder.mkdir()
    for name in PLANTED:
        (folder / f"{name}.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'a').write('{name} ')\n1 / 0\n")
    plugin = folder / "fedtrack_evil-1.0.dist-info"
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: fedtrack-evil\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[fedtrack]\nevil = fedtrack_evil\n")
    monkeypatch.chdir(folder)
    return folder


COMMANDS = {"module": [sys.executable, "-m", "fedtrack"], "script": [str(Path(sys.executable).with_name("fedtrack"))]}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_listing_in_a_folder_of_traps(command: list[str], trapped: Path) -> None:
    done = subprocess.run([*command, "plugins", "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "local" in done.stdout
    assert "evil" not in done.stdout
    assert not (trapped.parent / "executed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_a_run_in_a_folder_of_traps(
    command: list[str], make_job: MakeJob, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    train = """
    import os, sys
    assert os.getcwd() == sys.path[0] == os.path.dirname(__file__)
    import beside, random
    """
    (tmp_path / "beside.py").write_text("")
    job = make_job(train, num_rounds=1).export_job(tmp_path / "exported")
    trapped = request.getfixturevalue("trapped")
    done = subprocess.run(
        [*command, "run", str(job), "-w", str(tmp_path / "ws")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (trapped.parent / "executed").exists()


@pytest.mark.slow
def test_a_module_beside_the_script_is_the_scripts_as_in_plain_python(make_job: MakeJob, tmp_path: Path) -> None:
    (tmp_path / "selectors.py").write_text("OWN = 1\n")
    job = make_job(script=OWN_SELECTORS, num_rounds=1)
    assert job.simulator_run(tmp_path / "ws").status == "completed"


OWN_SELECTORS = """
import sys
sys.modules.pop("selectors")  # the engine has imported Python's own
import selectors
assert selectors.OWN == 1
import fedtrack.client as flare
flare.init()
while flare.is_running():
    model = flare.receive()
    TRAIN
    flare.send(flare.FLModel(params=model.params, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
"""


def started_modules(path: Path) -> list[tuple[int, list[str]]]:
    """Return the beginnings of the commands in a file that start a module of ours with this Python."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.List) and node.elts and ast.unparse(node.elts[0]) == "sys.executable":
            words = [item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            if "-m" in words and words[words.index("-m") + 1].startswith("fedtrack"):
                found.append((node.lineno, words))
    return found


@pytest.mark.parametrize("home", ["core", "plugins/local"])
def test_every_process_that_is_started_here_is_started_without_the_current_directory(home: str) -> None:
    sources = list((ROOT / home / "src").rglob("*.py"))
    found = {(path.name, line): words for path in sources for line, words in started_modules(path)}
    assert found
    # The conformance tests hand the author's own sys.path on to their child.
    assert [where for where, words in found.items() if "-P" not in words and where[0] != "child.py"] == []
