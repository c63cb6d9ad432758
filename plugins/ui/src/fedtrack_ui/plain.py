"""Plain: what a page gets is JSON, which has no NaN and no infinity; they travel by their names."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

Value: TypeAlias = float | str | None


def plain(value: float | None) -> Value:
    """Return a value with six significant digits, or ``"NaN"``, ``"Infinity"`` or ``"-Infinity"``."""
    if value is None:
        return None
    if math.isfinite(value):
        return float(f"{value:.6g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def plains(values: Iterable[float | None]) -> list[Value]:
    """Return several values; see ``plain``."""
    return [plain(value) for value in values]
