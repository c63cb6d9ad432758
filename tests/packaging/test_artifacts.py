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
from support.venv import DEVELOPMENT, MEMBERS, ROOT, Venv, run, uv

pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]

CORE = ROOT / "core"
COMPILED = "fedtrack/spool/_spool_base.abi3.so"
each_member = pytest.mark.parametrize("member", MEMBERS, ids=lambda path: path.name)


def project(member: Path) -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    return found


def stem(member: Path) -> str:
    declared = project(member)
    return f"{normalised(declared['name']).replace('-', '_')}-{declared['version']}"


def wheel_of(dist: Path, member: Path, *, pure: bool = False) -> Path:
    """Return a member's wheel; core has two of them."""
    found = [wheel for wheel in dist.glob(f"{stem(member)}-*.whl") if member != CORE or is_pure(wheel) == pure]
    (wheel,) = found
    return wheel


def is_pure(wheel: Path) -> bool:
    return wheel.name.endswith("-py3-none-any.whl")


def wheel_files(dist: Path, member: Path) -> dict[str, bytes]:
    return files_in(wheel_of(dist, member))


def files_in(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}


def metadata(dist: Path, member: Path) -> Message:
    return Parser().parsestr(wheel_files(dist, member)[f"{stem(member)}.dist-info/METADATA"].decode())


def test_every_member_has_a_wheel_and_an_sdist(dist: Path) -> None:
    built = {path.name for path in dist.iterdir() if path.name != ".gitignore"}
    pure = {f"{stem(member)}-py3-none-any.whl" for member in MEMBERS}
    assert built == {f"{stem(m)}.tar.gz" for m in MEMBERS} | pure | {wheel_of(dist, CORE).name}


def test_twine_finds_nothing_to_complain_about(dist: Path) -> None:
    files = sorted(path for path in dist.iterdir() if path.suffix in (".whl", ".gz"))
    done = run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *files)
    assert done.stdout.count("PASSED") == len(files) == 2 * len(MEMBERS) + 1


#: Distributions that hold something of others.
LICENSES = {"ui": "Apache-2.0 AND MIT"}  # uPlot

#: Distributions that another framework calls; fedtrack itself finds nothing of them.
INTEGRATIONS = {"flower", "lightning", "loops", "transformers"}


@each_member
def test_a_wheel_is_typed_licensed_and_without_tests(dist: Path, member: Path) -> None:
    files = wheel_files(dist, member)
    packages = {name.split("/")[0] for name in files if not name.startswith(stem(member))}
    (package,) = packages
    assert f"{package}/py.typed" in files
    assert any(re.fullmatch(r".*\.dist-info/licenses/LICENSE", name) for name in files)
    code = [name for name in files if not name.endswith(".template")]  # the tests of a plugin that is yet to be written
    assert not [n for n in code if re.search(r"(^|/)(tests?|conftest\.py|__pycache__)(/|$)|/test_[^/]*$", n)]
    if member != CORE and member.name not in INTEGRATIONS:
        assert b"[fedtrack]" in files[f"{stem(member)}.dist-info/entry_points.txt"]


@each_member
def test_metadata_names_the_core_that_it_was_built_for_and_no_path(dist: Path, member: Path) -> None:
    found = metadata(dist, member)
    assert found["Requires-Python"] == ">=3.11"
    assert found["License-Expression"] == LICENSES.get(member.name, "Apache-2.0")
    assert found["Summary"]
    assert found.get_payload(), "the README is the description"
    requires = found.get_all("Requires-Dist") or []
    assert not [line for line in requires if "://" in line or " @ " in line]
    if member != CORE:
        assert {"fedtrack>=0.1,<0.2", "fedtrack[connect]>=0.1,<0.2"} & set(requires)


@each_member
def test_an_sdist_holds_what_a_build_needs(dist: Path, member: Path) -> None:
    with tarfile.open(dist / f"{stem(member)}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= names
    names = {name for name in names if not name.endswith(".template")}
    names -= {".gitignore"}  # hatchling puts it into each
    assert not [name for name in names if "tests/" in name or name.startswith(".") or "/." in name]
    if member == CORE:
        sources = {
            f"src/fedtrack/spool/{name}" for name in ("_spool_base.c", "_encode.h", "_plain.h", "_spool_base.pyi")
        }
        assert {"hatch_build.py", "build_backend.py"} | sources <= names
        assert not [name for name in names if name.endswith(".so")]


def test_what_is_compiled_runs_on_every_python_from_the_oldest_on(dist: Path) -> None:
    assert wheel_of(dist, CORE).name.startswith(f"{stem(CORE)}-cp311-abi3-")
    compiled, pure = files_in(wheel_of(dist, CORE)), files_in(wheel_of(dist, CORE, pure=True))
    assert not [name for name in compiled if name.endswith((".c", ".h"))]
    assert {name for name in compiled if name not in pure} == {COMPILED}
    assert {name for name in pure if name not in compiled} == set()


def test_without_a_compiler_the_log_call_stays_in_python(dist: Path, tmp_path: Path) -> None:
    sdist = dist / f"{stem(CORE)}.tar.gz"
    done = run(uv(), "build", "--offline", "--wheel", "--out-dir", tmp_path, sdist, cwd=ROOT, CC="/bin/false")
    (wheel,) = tmp_path.glob("*.whl")
    assert is_pure(wheel)
    said = [line for line in done.stderr.splitlines() if "log call" in line]
    assert said == ["fedtrack: the log call is not compiled and stays in Python: /bin/false failed"]
    script = "from fedtrack.spool.base import SpoolBase; print(SpoolBase.__module__)"
    for built, module in (
        (wheel, "fedtrack.spool.base"),
        (wheel_of(dist, CORE), "fedtrack.spool._spool_base"),
    ):
        venv = Venv(tmp_path / built.stem)
        venv.pip("install", "--no-deps", built)
        packages = (
            f"import sys; sys.path.append({str(DEVELOPMENT)!r}); "  # msgspec; no .pth, which would be the sources
        )
        assert run(venv.python, "-c", packages + script, cwd=tmp_path).stdout.strip() == module


def test_an_sdist_that_the_build_module_makes_names_no_folder(tmp_path: Path) -> None:
    """What ``python -m build`` calls, in its order and in a process for each, as ``uv build`` does."""
    for call in ("build_sdist", "build_wheel"):
        source = ROOT / "core" if call == "build_sdist" else tmp_path / stem(CORE)
        script = f"import sys; sys.path.insert(0, '.'); import build_backend as b; b.{call}({str(tmp_path)!r})"
        run(sys.executable, "-c", script, cwd=source)
        if call == "build_sdist":
            with tarfile.open(tmp_path / f"{stem(CORE)}.tar.gz") as sdist:
                sdist.extractall(tmp_path, filter="data")
    (wheel,) = tmp_path.glob("*.whl")
    found = (
        files_in(wheel)[f"{stem(CORE)}.dist-info/METADATA"].decode(),
        (tmp_path / stem(CORE) / "PKG-INFO").read_text(),
    )
    for text in found:
        requires = [line for line in text.partition("\n\n")[0].splitlines() if line.startswith("Requires-Dist:")]
        assert any("fedtrack-mlflow[receiver]" in line for line in requires)
        assert not [line for line in requires if "@" in line]


def test_a_wheel_for_release_can_be_built_of_the_clone_itself(tmp_path: Path) -> None:
    for variable, urls in (("", True), ("1", False)):
        folder = tmp_path / f"release-{variable}"
        command = (uv(), "build", "--quiet", "--offline", "--wheel", "--out-dir", folder, CORE)
        run(*command, cwd=ROOT, FEDTRACK_RELEASE=variable)
        (wheel,) = folder.glob("*.whl")
        lines = files_in(wheel)[f"{stem(CORE)}.dist-info/METADATA"].decode().partition("\n\n")[0].splitlines()
        named = [line for line in lines if line.startswith("Requires-Dist:") and " @ " in line]
        assert bool(named) == urls
        assert not [line for line in named if "extra ==" not in line]


def test_core_ships_the_templates_of_new_plugins(dist: Path) -> None:
    sources = ROOT / "core" / "src"
    templates = {str(path.relative_to(sources)) for path in sources.rglob("*.template")}
    assert len(templates) > 10
    assert templates <= wheel_files(dist, ROOT / "core").keys()


def test_core_depends_on_no_tracking_sdk(dist: Path) -> None:
    requires = metadata(dist, ROOT / "core").get_all("Requires-Dist") or []
    always = [line for line in requires if "extra ==" not in line]
    assert not [line for line in always if re.match(r"mlflow|wandb|tensorboard|torch|fedtrack", line)]
    extras = {line.partition(";")[0].strip() for line in requires if "extra ==" in line}
    for name in ("mlflow", "tensorboard", "wandb"):
        assert f"fedtrack-{name}[receiver]<0.2,>=0.1" in extras
