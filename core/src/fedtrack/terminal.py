"""Terminal: a rich console that prints text of others as it is: without markup and without control of the terminal."""

from __future__ import annotations

from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from fedtrack.output import tolerant
from fedtrack.visible import visible


class Terminal(Console):
    """A console for a stream whose reader may leave.

    A string that is printed, or that is in a table, has no markup: ``[red]`` in a name is a part of the name.

    Args:
        stream: The stream; None if the process was started without one.
        options: See ``rich.console.Console``.
    """

    def __init__(self, stream: TextIO | None, **options: Any) -> None:
        super().__init__(file=tolerant(stream), highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as rich's text, with nothing in it that has an effect."""
        return super().render_str(visible(text), **options | {"markup": False, "emoji": False})
