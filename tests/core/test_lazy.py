"""Lazy names: nothing is imported before it is used, and a name that does not exist is an ordinary mistake."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.lazy import lazy_names

PACKAGE = """
from fedtrack.lazy import lazy_names
__getattr__, __dir__ = lazy_names(__name__, {"Heavy": "shop.heavy", "Broken": "shop.broken"})
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text(PACKAGE)
    (tmp_path / "shop" / "heavy.py").write_text("class Heavy: pass\n")
    (tmp_path / "shop" / "broken.py").write_text("import no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("shop", "shop.heavy", "shop.broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("shop")
def test_a_module_is_imported_when_its_name_is_used_and_not_before() -> None:
    import shop  # type: ignore[import-not-found]

    assert "shop.heavy" not in sys.modules
    assert dir(shop) == ["Broken", "Heavy"]
    assert "shop.heavy" not in sys.modules
    assert shop.Heavy is sys.modules["shop.heavy"].Heavy


@pytest.mark.usefixtures("shop")
def test_from_import_works_and_what_is_missing_inside_is_said() -> None:
    from shop import Heavy

    assert Heavy.__module__ == "shop.heavy"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):  # and not "shop has no Broken"
        from shop import Broken  # noqa: F401


def test_an_unknown_name_is_an_attribute_error_with_the_package() -> None:
    load, _ = lazy_names("shop", {})
    with pytest.raises(AttributeError, match="module 'shop' has no attribute 'Lite'"):
        load("Lite")


@pytest.mark.parametrize("package", ["fedtrack", "fedtrack.job", "fedtrack.client", "fedtrack.testing"])
def test_every_public_name_of_a_package_can_be_loaded(package: str) -> None:
    code = (
        f"import importlib; package = importlib.import_module({package!r})\n"
        "missing = [name for name in package.__all__ if not hasattr(package, name)]\n"
        "missing += [name for name in package.__all__ if name not in dir(package)]\n"
        "assert not missing, missing"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
