"""Runnable comparisons: fedtrack beside what people use instead, in one run on one machine.

``python -m benchmarks`` runs them and prints their tables; ``make bench`` also writes them into
``docs/performance.md``. Blocks of the compared things alternate (A B A B ...), so that all see the same load of the
machine, and the ratios are what counts.

A benchmark is a module with a ``title`` and ``run(quick) -> list[Table]`` that is named in ``__main__.REGISTRY``.
"""
