"""Local modules: the files beside a training script that it imports, which an exported job must contain."""

from __future__ import annotations

import ast
from pathlib import Path

from fedtrack.errors import ConfigError


def local_modules(script: Path) -> dict[str, Path]:
    """Return the modules and packages next to ``script`` that it imports, directly or through each other.

    Args:
        script: A Python file; it is parsed, not run.

    Returns:
        Paths by their name relative to the script's folder (``model.py``, ``networks``).

    Raises:
        ConfigError: A file is not valid Python.
    """
    found: dict[str, Path] = {}
    waiting = [script]
    while waiting:
        for name in _imported_names(waiting.pop()):
            for candidate in (script.parent / f"{name}.py", script.parent / name):
                if candidate.name in found or not candidate.exists() or candidate == script:
                    continue
                found[candidate.name] = candidate
                waiting += [candidate] if candidate.is_file() else sorted(candidate.rglob("*.py"))
    return found


def third_party_modules(script: Path) -> list[str]:
    """Return the top-level modules that ``script`` and its local modules import from elsewhere, sorted."""
    local = local_modules(script)
    names = {name for path in [script, *_python_files(local)] for name in _imported_names(path, relative=False)}
    return sorted(name for name in names - {script.stem} if f"{name}.py" not in local and name not in local)


def _python_files(local: dict[str, Path]) -> list[Path]:
    return [file for path in local.values() for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]


def _imported_names(path: Path, *, relative: bool = True) -> set[str]:
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{path} is not valid Python: {error}.") from None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (relative or not node.level):
            # "from . import x" and "from .x import y" also name a local module.
            module = (node.module or "").partition(".")[0]
            names |= {module} if module else {alias.name for alias in node.names}
    return names
