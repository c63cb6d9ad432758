"""fedtrack's log call in C; core finds it by itself.

Importing this package is an ImportError where the extension was not built, because there was no compiler, or does not
run on this interpreter.
"""

from __future__ import annotations

from fedtrack_speedups._spool_base import API, SpoolBase

__all__ = ["API", "SpoolBase"]
