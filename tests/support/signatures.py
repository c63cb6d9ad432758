"""Whether a function takes the arguments of another one: the same names, in the same order, with the same defaults."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

_PLAIN = (type(None), bool, int, float, str)


def missing_arguments(
    ours: Callable[..., Any], theirs: Callable[..., Any], left_out: dict[str, str] | None = None
) -> list[str]:
    """Return what a caller of ``theirs`` could pass and ``ours`` would not take in the same way.

    Args:
        ours: A bound method.
        theirs: A function, or a method with ``self``.
        left_out: Arguments that ``ours`` does not have, with the reasons.
    """
    own = list(inspect.signature(ours).parameters.values())
    names = [parameter.name for parameter in own]
    problems = []
    expected = [item for item in inspect.signature(theirs).parameters.values() if item.name != "self"]
    expected = [item for item in expected if item.name not in (left_out or {})]
    for position, parameter in enumerate(expected):
        if parameter.name not in names:
            problems.append(f"no {parameter.name}")
            continue
        same = own[names.index(parameter.name)]
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and names.index(parameter.name) != position:
            problems.append(f"{parameter.name} is argument {names.index(parameter.name) + 1}, not {position + 1}")
        if type(parameter.default) in _PLAIN and same.default is inspect.Parameter.empty:
            problems.append(f"{parameter.name} has no default")
        elif type(parameter.default) in _PLAIN and same.default != parameter.default:
            problems.append(f"{parameter.name} is {same.default!r} by default, not {parameter.default!r}")
    return problems
