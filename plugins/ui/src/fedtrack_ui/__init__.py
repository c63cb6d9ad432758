"""The page of a federated run: ``fedtrack ui`` serves it live, and ``fedtrack report`` writes it into one file.

Every listing of plugins imports this module, so it imports neither starlette nor uvicorn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedtrack import hookimpl

if TYPE_CHECKING:
    import typer

__all__ = ["fedtrack_cli"]


@hookimpl
def fedtrack_cli(app: typer.Typer) -> None:
    """Add the commands ``ui`` and ``report``."""
    from fedtrack_ui.commands import report, ui

    app.command("ui")(ui)
    app.command("report")(report)
