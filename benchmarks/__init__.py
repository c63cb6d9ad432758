"""Runnable comparisons: fedtrack beside what people use instead, in one run on one machine.

``python -m benchmarks`` runs all of them and prints their tables; ``python -m benchmarks --write`` also writes
``docs/performance.md``. Blocks of the compared things alternate (A B A B ...), so that both see the same load of the
machine, and the ratios are what counts.
"""
