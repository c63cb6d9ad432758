"""ViewOptions: how a view is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from fedtrack.errors import ConfigError

#: ``last``: a site's value of a round is its last one; ``mean``: the mean of its values; ``off``: no view.
ViewMode: TypeAlias = Literal["last", "mean", "off"]


@dataclass(frozen=True)
class ViewOptions:
    """How a view is computed.

    Attributes:
        mode: The value of a site in a round: its ``last`` one, or the ``mean`` of its values.
        settle_seconds: How long the view waits for the rest of a round when the server has all answers.
        patience_seconds: How long it waits for the other sites where no server says who takes part: from the moment
            when the first site has begun a later round.
        by_step: Whether metrics that were logged outside rounds are compared by step, if there are no rounds at all.
    """

    mode: ViewMode = "last"
    settle_seconds: float = 10.0
    patience_seconds: float = 300.0
    by_step: bool = False


def view_mode(value: bool | str) -> ViewMode:
    """Return a job's argument ``view`` as a mode; True is ``last``, and False is ``off``.

    Raises:
        ConfigError: It is none of them.
    """
    if value is True:
        return "last"
    if value is False:
        return "off"
    for mode in get_args(ViewMode):
        if value == mode:
            return mode  # type: ignore[no-any-return]
    raise ConfigError(f"view is {value!r}; valid are True, False, 'last', 'mean' and 'off'.")
