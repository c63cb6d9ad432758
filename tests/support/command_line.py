"""The command line in this process: what a command prints, and the code that it ends with."""

from __future__ import annotations

from typer.testing import CliRunner

from fedtrack.cli.app import build_app


def fedtrack(*arguments: str, exit_code: int = 0) -> str:
    """Run a command and return what it printed to standard output; an error of fedtrack's own is raised."""
    result = CliRunner().invoke(build_app(), list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, result.output
    return result.stdout
