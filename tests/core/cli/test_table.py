"""Tables: aligned for people, complete for programs, a line for each row whatever a cell holds."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from fedtrack.cli.table import kinds, plugin_row, show
from fedtrack.plugins import Plugin, State
from fedtrack.tracking.records import Artifact, Metric, Tag

ROWS = [
    {"name": "csv", "supports": ["metric", "tag"], "reason": "line one\n  line two", "hidden": Path("/x")},
    {"name": "a-much-longer-name", "supports": [], "hidden": 5},
]


def test_columns_are_aligned_and_a_row_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, ("name", "supports", "reason"), as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "NAME                SUPPORTS    REASON",
        "csv                 metric,tag  line one line two",
        "a-much-longer-name",
    ]


def test_json_has_every_key_and_its_own_types(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, ("name",), as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found[0] == ROWS[0] | {"hidden": "/x"}
    assert found[1]["hidden"] == 5


def test_a_table_of_nothing_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    show([], ("name", "state"), as_json=False)
    assert capsys.readouterr().out == "NAME  STATE\n"
    show([], ("name",), as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_what_is_wrong_with_a_plugin_stands_in_for_its_summary() -> None:
    plugin = Plugin("csv", "fedtrack-csv", "1.0", summary="Rows.")
    assert plugin_row(plugin)["summary"] == "Rows."
    plugin.fail(State.FAILED, "KeyError: 'home'", "pip install x")
    assert plugin_row(plugin)["summary"] == "fedtrack-csv 1.0: KeyError: 'home'; to fix it: pip install x"
    plugin.fail(State.DISABLED, "you said so")
    assert plugin_row(plugin)["summary"] == "fedtrack-csv 1.0: you said so"


def test_kinds_are_in_the_documented_order() -> None:
    assert kinds(frozenset({Artifact, Tag, Metric})) == ["metric", "tag", "artifact"]


SHOW = """
from fedtrack.cli.table import show
show([{"run": "r" * 32, "status": "completed", "folder": ""}, {"run": "s", "status": "", "folder": "/ws"}],
     ("run", "status", "folder"), as_json=False)
"""


def on_a_terminal(columns: int) -> list[str]:
    """Return what SHOW prints on a real terminal of this width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    with os.fdopen(master, "rb") as shown:
        subprocess.run([sys.executable, "-c", SHOW], stdout=slave, check=True, env=environment)
        os.close(slave)
        data = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := shown.read1():
                data += part
    return data.decode().splitlines()


def test_a_terminal_that_is_too_narrow_gets_a_block_for_each_row() -> None:
    assert on_a_terminal(200) == [
        f"RUN{'':31}STATUS     FOLDER",
        f"{'r' * 32}  completed",
        f"s{'':44}/ws",
    ]
    assert on_a_terminal(51) == on_a_terminal(200)
    assert on_a_terminal(50) == [
        f"RUN     {'r' * 32}",
        "STATUS  completed",
        "FOLDER",
        "",
        "RUN     s",
        "STATUS",
        "FOLDER  /ws",
    ]
