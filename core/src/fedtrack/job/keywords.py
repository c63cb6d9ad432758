"""Keywords: a misspelt argument is answered with the one that was meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def checked_keywords(init: Callable[Concatenate[T, P], None]) -> Callable[Concatenate[T, P], None]:
    """Let a class's ``__init__`` name itself and the nearest argument when it is given an unknown one.

    Python names the class whose ``__init__`` fails, which is a base of the one that the user wrote, and before 3.13
    it suggests nothing.

    Raises:
        TypeError: By ``__init__``: it has no such argument.
    """
    known = list(inspect.signature(init).parameters)[1:]
    owner = init.__qualname__.rpartition(".")[0]

    @wraps(init)
    def checked(self: T, /, *args: P.args, **kwargs: P.kwargs) -> None:
        for name in kwargs:
            if name not in known:
                near = get_close_matches(name, known, 1)
                remedy = f"did you mean {near[0]!r}?" if near else f"valid are {', '.join(known)}."
                raise TypeError(f"{owner} has no argument {name!r}; {remedy}")
        init(self, *args, **kwargs)

    return checked
