"""Keywords: the error for a misspelt argument names the nearest valid one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def checked_keywords(init: Callable[Concatenate[T, P], None]) -> Callable[Concatenate[T, P], None]:
    """Let the error of ``__init__`` for an unknown argument name the class and the nearest valid argument.

    Python's own error names the class whose ``__init__`` fails, which may be a base of the class that the user wrote.
    Before Python 3.13 it also suggests no argument.

    Raises:
        TypeError: Raised by ``__init__``, which has no such argument.
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
