"""Source files: a script as the main program, or as a module, in a process that has run something else before.

Both are in ``sys.modules``, as they are in a Python of their own. So what a script defines can be pickled and
inspected, and the processes that ``multiprocessing`` starts with ``spawn`` and ``forkserver`` find it.
"""

from __future__ import annotations

import builtins
import importlib.util
import multiprocessing.process
import os
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


def run_script(script: Path, args: list[str]) -> None:
    """Run a script as ``python script args`` does; the process keeps it as its main program."""
    main = ModuleType("__main__")
    main.__file__, main.__loader__ = str(script), SourceFileLoader("__main__", str(script))
    main.__dict__.update(__builtins__=builtins, __cached__=None, __annotations__={})
    _become(main)
    sys.argv = [str(script), *args]
    search_first(script.parent)
    _Loader("__main__", str(script)).exec_module(main)


def forget_main() -> None:
    """Give the process an empty main program, so that no child runs that of the engine again."""
    _become(ModuleType("__main__"))


def import_file(path: Path) -> ModuleType:
    """Import a Python file as the module that an import statement in its folder would find.

    If the interpreter or another package has a module of that name already, the name of this one is another one.
    """
    search_first(path.parent)
    name = path.stem
    if name in sys.modules or name in sys.stdlib_module_names or not name.isidentifier():
        name = "fedtrack_file_" + re.sub(r"\W", "_", name)
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    assert spec is not None  # noqa: S101 - narrows the type; there is a loader
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def search_first(folder: Path) -> None:
    """Let imports search a folder first, as Python lets those of a script search the script's own folder."""
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


class _Loader(SourceFileLoader):
    """Writes no cache into the folder of a job."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        pass


def _become(main: ModuleType) -> None:
    # multiprocessing took the engine's for the main program when it was imported.
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    multiprocessing.process.ORIGINAL_DIR = str(Path.cwd())  # type: ignore[attr-defined]
    # Every site was forked with the same key.
    multiprocessing.current_process().authkey = os.urandom(32)
