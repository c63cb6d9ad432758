"""The content of the wheels and sdists that `make wheels` builds."""

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
from support.venv import ROOT, Venv, run, uv

pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]

WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
MEMBERS = sorted(path for pattern in WORKSPACE["members"] for path in ROOT.glob(pattern))
#: Compiled, and found by core without an entry point.
SPEEDUPS = ROOT / "speedups"
each_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)


def project(member: Path) -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    return found


def stem(member: Path) -> str:
    declared = project(member)
    return f"{normalised(declared['name']).replace('-', '_')}-{declared['version']}"


def wheel_of(dist: Path, member: Path) -> Path:
    (found,) = dist.glob(f"{stem(member)}-*.whl")
    return found


def wheel_files(dist: Path, member: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel_of(dist, member)) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist() if not name.endswith("/")}


def metadata(dist: Path, member: Path) -> Message:
    return Parser().parsestr(wheel_files(dist, member)[f"{stem(member)}.dist-info/METADATA"].decode())


def test_every_member_has_a_wheel_and_an_sdist(dist: Path) -> None:
    built = {path.name for path in dist.iterdir() if path.name != ".gitignore"}
    pure = {f"{stem(member)}-py3-none-any.whl" for member in MEMBERS if member != SPEEDUPS}
    assert built == {f"{stem(m)}.tar.gz" for m in MEMBERS} | pure | {wheel_of(dist, SPEEDUPS).name}


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
    if member != SPEEDUPS:
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
    if member == SPEEDUPS:
        assert requires == []
    elif member.name != "core":
        assert "fedtrack>=0.1,<0.2" in requires


@each_member
def test_an_sdist_holds_what_a_build_needs(dist: Path, member: Path) -> None:
    with tarfile.open(dist / f"{stem(member)}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    names = {name for name in names if not name.endswith(".template")}
    assert not [name for name in names if "tests/" in name or name.startswith(".") or "/." in name]


def test_what_is_compiled_runs_on_every_python_from_the_oldest_on(dist: Path) -> None:
    assert wheel_of(dist, SPEEDUPS).name.startswith(f"{stem(SPEEDUPS)}-cp311-abi3-")
    assert "fedtrack_speedups/_spool_base.abi3.so" in wheel_files(dist, SPEEDUPS)


def test_without_a_compiler_the_log_call_stays_in_python(dist: Path, tmp_path: Path) -> None:
    venv = Venv(tmp_path / "venv")
    venv.see_development()
    command = (uv(), "pip", "install", "--offline", "--no-config", "--python", venv.python)
    run(*command, dist / f"{stem(SPEEDUPS)}.tar.gz", cwd=tmp_path, CC="/bin/false")
    script = "from fedtrack.spool.base import SpoolBase; print(SpoolBase.__module__)"
    assert run(venv.python, "-c", script, cwd=tmp_path).stdout.strip() == "fedtrack.spool.base"
    run(*command, "--reinstall", "--no-cache", wheel_of(dist, SPEEDUPS), cwd=tmp_path)
    assert run(venv.python, "-c", script, cwd=tmp_path).stdout.strip() == "fedtrack_speedups"


def test_core_ships_the_templates_of_new_plugins(dist: Path) -> None:
    sources = ROOT / "core" / "src"
    templates = {str(path.relative_to(sources)) for path in sources.rglob("*.template")}
    assert len(templates) > 10
    assert templates <= wheel_files(dist, ROOT / "core").keys()


def test_core_depends_on_no_tracking_sdk(dist: Path) -> None:
    requires = metadata(dist, ROOT / "core").get_all("Requires-Dist") or []
    always = [line for line in requires if "extra ==" not in line]
    assert not [line for line in always if re.match(r"mlflow|wandb|tensorboard|torch|fedtrack-(?!speedups)", line)]
    assert "fedtrack-speedups<0.2,>=0.1" in {line.replace(">=0.1,<0.2", "<0.2,>=0.1") for line in always}
    extras = {line.partition(" ;")[0]: line for line in requires if "extra ==" in line}
    for name in ("mlflow", "tensorboard", "wandb"):
        assert f"fedtrack-{name}[receiver]>=0.1,<0.2" in extras
