"""Benchmarks: fedtrack and its alternatives, compared in one run on one machine.

``python -m benchmarks`` runs them and prints their tables; ``make bench`` also writes the tables into
``docs/performance.md``. Blocks of the compared programs alternate (A B A B ...), so that all have the same load of the
machine. The ratios matter more than the absolute figures.

A benchmark is a module with a ``title`` and ``run(quick) -> list[Table]``, and an entry in ``__main__.REGISTRY``.
"""
