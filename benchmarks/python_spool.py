"""A spool in Python alone, as where the log call is not compiled, for comparison with the one in use."""

from __future__ import annotations

import importlib.util
from typing import cast

from fedtrack.spool import base as spool_base
from fedtrack.spool import spool


def python_spool() -> type[spool.Spool]:
    """Return a Spool that stores plain metrics in Python."""
    spec = importlib.util.spec_from_file_location("benchmarks._spool_in_python", spool.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    chosen, spool_base.SpoolBase = spool_base.SpoolBase, spool_base.PythonSpoolBase
    try:
        spec.loader.exec_module(module)
    finally:
        spool_base.SpoolBase = chosen
    return cast("type[spool.Spool]", module.Spool)
