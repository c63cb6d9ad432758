"""What a reader is told to type: it depends on where fedtrack came from and on what installs here."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from fedtrack.plugins import remedy
from support.throwaway import Install, receivers


@pytest.fixture
def with_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment that is active and has a pip."""
    monkeypatch.setattr(remedy, "has_pip", lambda: True)
    monkeypatch.setattr(remedy.shutil, "which", lambda name: str(Path(sys.executable).with_name(name)))


@pytest.fixture
def comes_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that says what an installer has recorded of core; of others nothing is known."""

    def record(url: str = "", **recorded: Any) -> None:
        text = json.dumps({"url": url, **recorded})

        def origin_of(name: str) -> remedy.Origin:
            return remedy._origin(json.loads(text)) if name == "fedtrack" else remedy.Origin()

        monkeypatch.setattr(remedy, "origin_of", origin_of)

    return record


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "a clone"
    (folder / "core").mkdir(parents=True)
    return folder


@pytest.mark.usefixtures("with_pip")
def test_what_came_from_an_index_is_completed_from_it(comes_from: Any) -> None:
    comes_from()
    assert remedy.install("fedtrack[mlflow]") == "pip install 'fedtrack[mlflow]'"
    assert remedy.install("fedtrack-mlflow") == "pip install fedtrack-mlflow"
    assert remedy.install("fedtrack", "fedtrack-csv", upgrade=True) == "pip install --upgrade fedtrack fedtrack-csv"
    assert remedy.repair("fedtrack-csv") == "pip install --upgrade fedtrack-csv"
    assert remedy.uninstall("fedtrack-csv") == "pip uninstall fedtrack-csv"
    assert remedy.rebuild().endswith("--force-reinstall --no-deps --no-binary fedtrack fedtrack")


@pytest.mark.usefixtures("with_pip")
@pytest.mark.parametrize("editable", [False, True])
def test_what_came_from_a_clone_is_completed_from_the_clone(comes_from: Any, clone: Path, editable: bool) -> None:
    comes_from((clone / "core").as_uri(), dir_info={"editable": True} if editable else {})
    dash_e = "-e " if editable else ""
    assert remedy.install("fedtrack[mlflow]") == f"pip install {dash_e}'{clone}/core[mlflow]'"
    assert remedy.install("fedtrack-mlflow") == f"pip install {dash_e}'{clone}/plugins/mlflow'"
    assert remedy.install("fedtrack-mlflow[receiver]") == f"pip install {dash_e}'{clone}/core[mlflow]'"
    # It needs fedtrack-local, which only core's extra finds in the clone.
    assert remedy.install("fedtrack-examples") == f"pip install {dash_e}'{clone}/core[examples]'"
    assert remedy.install("fedtrack-csv") == "pip install fedtrack-csv"
    assert remedy.rebuild().endswith(f"--no-deps {dash_e}'{clone}/core'")


@pytest.mark.usefixtures("with_pip")
def test_a_clone_that_is_gone_is_not_named(comes_from: Any, tmp_path: Path) -> None:
    comes_from((tmp_path / "gone" / "core").as_uri(), dir_info={})
    assert remedy.install("fedtrack[mlflow]") == "pip install 'fedtrack[mlflow]'"


@pytest.mark.usefixtures("with_pip")
def test_what_came_from_a_repository_is_completed_from_the_same_commit(comes_from: Any) -> None:
    comes_from("https://example.org/f", vcs_info={"vcs": "git", "commit_id": "abc"}, subdirectory="core")
    url = "git+https://example.org/f@abc#subdirectory"
    assert remedy.install("fedtrack[mlflow]") == f"pip install 'fedtrack[mlflow] @ {url}=core'"
    assert remedy.install("fedtrack-mlflow") == f"pip install 'fedtrack-mlflow @ {url}=plugins/mlflow'"


@pytest.mark.usefixtures("with_pip")
def test_a_repository_on_this_machine_is_named_as_every_pip_takes_it(comes_from: Any) -> None:
    comes_from("file:///a clone", vcs_info={"vcs": "git", "commit_id": "abc"}, subdirectory="core")
    url = "git+file://localhost/a%20clone@abc#subdirectory=core"
    assert remedy.install("fedtrack[mlflow]") == f"pip install 'fedtrack[mlflow] @ {url}'"


def test_an_environment_without_pip_is_uvs(comes_from: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    comes_from()
    monkeypatch.setattr(remedy, "has_pip", lambda: False)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    assert remedy.install("fedtrack[mlflow]") == "uv pip install 'fedtrack[mlflow]'"
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.chdir(tmp_path)
    assert remedy.install("x") == f"uv pip install --python {shlex.quote(sys.executable)} x"


def test_an_environment_that_is_not_active_is_named(comes_from: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    comes_from()
    monkeypatch.setattr(remedy, "has_pip", lambda: True)
    for found in ("/usr/bin/pip", None):
        monkeypatch.setattr(remedy.shutil, "which", lambda name, found=found: found)
        assert remedy.install("x") == f"{shlex.quote(sys.executable)} -m pip install x"


@pytest.mark.usefixtures("with_pip")
@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("pip install 'fedtrack-csv[receiver]'", "pip install 'fedtrack-csv[receiver]'"),
        ("pip install 'fedtrack[mlflow]'", "pip install '{clone}/core[mlflow]'"),
        ("pip install --pre csv", "pip install --pre csv"),
        ("pip install 'csv>=2'", "pip install 'csv>=2'"),
        ("conda install csv", "conda install csv"),
        ("ask Bob's team", "ask Bob's team"),
        ("", ""),
    ],
)
def test_a_plugins_own_command_is_shown_as_it_works_here(
    comes_from: Any, clone: Path, command: str, shown: str
) -> None:
    comes_from((clone / "core").as_uri(), dir_info={})
    assert remedy.adapted(command) == shown.format(clone=clone)


@pytest.mark.usefixtures("with_pip")
def test_the_author_of_a_plugin_is_not_told_to_install_it_again(install: Install, site: Path, tmp_path: Path) -> None:
    install("fedtrack-csv", receivers("csv"))
    assert remedy.repair("fedtrack-csv") == "pip install --upgrade fedtrack-csv"
    (record,) = site.glob("fedtrack_csv-*.dist-info")
    for editable, shown in ((False, f"pip install {tmp_path}"), (True, "")):
        text = json.dumps({"url": tmp_path.as_uri(), "dir_info": {"editable": editable}})
        (record / "direct_url.json").write_text(text)
        assert remedy.repair("fedtrack-csv") == shown
