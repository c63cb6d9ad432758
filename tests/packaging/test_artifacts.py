"""What is in the wheels and sdists that `make wheels` builds."""

from __future__ import annotations

import re
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from support.offline_index import normalised
from support.venv import ROOT, run

pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]

WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
MEMBERS = sorted(path for pattern in WORKSPACE["members"] for path in ROOT.glob(pattern))
each_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)


def project(member: Path) -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    return found


def stem(member: Path) -> str:
    declared = project(member)
    return f"{normalised(declared['name']).replace('-', '_')}-{declared['version']}"


def wheel_files(dist: Path, member: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(dist / f"{stem(member)}-py3-none-any.whl") as wheel:
        return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}


def metadata(dist: Path, member: Path) -> Message:
    return Parser().parsestr(wheel_files(dist, member)[f"{stem(member)}.dist-info/METADATA"].decode())


def test_every_member_has_a_wheel_and_an_sdist(dist: Path) -> None:
    built = {path.name for path in dist.iterdir() if path.name != ".gitignore"}
    assert built == {f"{stem(m)}{end}" for m in MEMBERS for end in ("-py3-none-any.whl", ".tar.gz")}


def test_twine_finds_nothing_to_complain_about(dist: Path) -> None:
    files = sorted(path for path in dist.iterdir() if path.suffix in (".whl", ".gz"))
    done = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files)
    assert done.stdout.count("PASSED") == len(files) == 2 * len(MEMBERS)


@each_member
def test_a_wheel_is_typed_licensed_and_without_tests(dist: Path, member: Path) -> None:
    files = wheel_files(dist, member)
    packages = {name.split("/")[0] for name in files if not name.startswith(stem(member))}
    (package,) = packages
    assert f"{package}/py.typed" in files
    assert any(re.fullmatch(r".*\.dist-info/licenses/LICENSE", name) for name in files)
    code = [name for name in files if not name.endswith(".template")]  # the tests of a plugin that is yet to be written
    assert not [n for n in code if re.search(r"(^|/)(tests?|conftest\.py|__pycache__)(/|$)|/test_[^/]*$", n)]
    assert b"[fedtrack]" in files[f"{stem(member)}.dist-info/entry_points.txt"]


@each_member
def test_metadata_names_the_core_that_it_was_built_for_and_no_path(dist: Path, member: Path) -> None:
    found = metadata(dist, member)
    assert found["Requires-Python"] == ">=3.11"
    assert found["License-Expression"] == "Apache-2.0"
    assert found["Summary"]
    assert found.get_payload(), "the README is the description"
    requires = found.get_all("Requires-Dist") or []
    assert not [line for line in requires if "://" in line or " @ " in line]
    if member.name != "core":
        assert "fedtrack>=0.1,<0.2" in requires


@each_member
def test_an_sdist_holds_what_a_build_needs(dist: Path, member: Path) -> None:
    with tarfile.open(dist / f"{stem(member)}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    names = {name for name in names if not name.endswith(".template")}
    assert not [name for name in names if "tests/" in name or name.startswith(".") or "/." in name]


def test_core_ships_the_templates_of_new_plugins(dist: Path) -> None:
    sources = ROOT / "core" / "src"
    templates = {str(path.relative_to(sources)) for path in sources.rglob("*.template")}
    assert len(templates) > 10
    assert templates <= wheel_files(dist, ROOT / "core").keys()


def test_core_depends_on_no_tracking_sdk(dist: Path) -> None:
    requires = metadata(dist, ROOT / "core").get_all("Requires-Dist") or []
    always = [line for line in requires if "extra ==" not in line]
    assert not [line for line in always if re.match(r"mlflow|wandb|tensorboard|torch|fedtrack", line)]
    extras = {line.partition(" ;")[0]: line for line in requires if "extra ==" in line}
    for name in ("mlflow", "tensorboard", "wandb"):
        assert f"fedtrack-{name}[receiver]>=0.1,<0.2" in extras
