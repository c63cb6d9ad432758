"""The table of the campaigns' results, printed once at the end."""

from __future__ import annotations

import pytest

from .scoreboard import Row, table

_ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()


@pytest.fixture
def scoreboard(pytestconfig: pytest.Config) -> list[Row]:
    """Take the rows of the table."""
    return pytestconfig.stash.setdefault(_ROWS, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table."""
    if rows := config.stash.get(_ROWS, []):
        terminalreporter.section("what the campaigns found")
        terminalreporter.write_line(table(rows))
