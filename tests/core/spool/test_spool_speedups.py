"""The compiled part of the spool: when it is used, and which calls it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.spool.spool import Spool
from support.spooled import compiled, opened


@compiled
@pytest.mark.parametrize("call", ["append_metric", "append_metrics"])
def test_a_wrong_number_of_arguments_is_a_type_error(tmp_path: Path, call: str) -> None:
    with pytest.raises(TypeError, match=f"{call}.* takes .*, got 1"):
        getattr(opened(tmp_path), call)("k")


@compiled
def test_a_prefix_that_is_none_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(ValueError, match="260 bytes, more than 259"):
        spool._prefix = b"x" * 260
    with pytest.raises(TypeError):
        spool._prefix = "text"  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        del spool._prefix
    assert spool._prefix == b""


def base_of(folder: Path, setting: str = "") -> tuple[str, str]:
    """Return the module of the base that a new process chooses, and what it prints on stderr."""
    script = "from fedtrack.spool.base import SpoolBase; print(SpoolBase.__module__)"
    environment = os.environ | {"PYTHONPATH": str(folder), "FEDTRACK_SPEEDUPS": setting}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip(), done.stderr


@compiled
def test_what_is_compiled_is_used_unless_it_is_turned_off(tmp_path: Path) -> None:
    assert base_of(tmp_path) == ("fedtrack.spool._spool_base", "")
    assert base_of(tmp_path, "0") == ("fedtrack.spool.base", "")


def test_what_cannot_be_imported_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['fedtrack.spool._spool_base'] = None\n")
    assert base_of(tmp_path) == ("fedtrack.spool.base", "")


def test_what_was_compiled_of_other_sources_is_not_used_and_named(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, types\n"
        "module = types.ModuleType('fedtrack.spool._spool_base')\n"
        "module.__file__, module.API, module.SpoolBase = 'old.so', 99, object\n"
        "sys.modules['fedtrack.spool._spool_base'] = module\n"
    )
    module, said = base_of(tmp_path)
    assert module == "fedtrack.spool.base"
    assert "old.so has the interface 99" in said
    assert "install fedtrack again" in said
