"""The command line as a whole: every command is there and explained, and a plugin can add its own."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
import typer

from fedtrack.cli.app import build_app
from support.command_line import fedtrack
from support.throwaway import Install

COMMAND = """
from fedtrack import hookimpl
@hookimpl
def fedtrack_cli(app):
    {body}
"""

ADDS = """
    @app.command()
    def shout(text: str):
        "Say it."
        print(text.upper())
"""


def test_every_command_and_every_argument_says_what_it_is_for() -> None:
    def walk(command: Any, path: str) -> None:
        assert command.help, path
        for parameter in command.params:
            if not getattr(parameter, "hidden", False):
                assert getattr(parameter, "help", ""), f"{path}: {parameter.name}"
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, f"{path} {name}")

    walk(typer.main.get_command(build_app()), "fedtrack")


def test_a_plugin_can_add_a_command(install: Install) -> None:
    install("fedtrack-loud", COMMAND.format(body=ADDS))
    assert fedtrack("shout", "hello") == "HELLO\n"
    assert "Say it." in fedtrack("--help")


def test_one_whose_command_fails_to_be_added_takes_no_other_along(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("fedtrack-bad", COMMAND.format(body="raise KeyError('app')"))
    with caplog.at_level(logging.ERROR):
        assert "receivers" in fedtrack("--help")
    assert "plugin bad: fedtrack_cli raised KeyError" in caplog.text


def test_the_version_says_how_log_calls_are_made() -> None:
    first, second = fedtrack("--version").splitlines()
    assert first.startswith("fedtrack 0.")
    assert second.startswith("log calls: ")
    code = "from fedtrack.cli import main; import sys; sys.argv = ['fedtrack', '--version']; main()"
    command = [sys.executable, "-c", f"import os; os.environ['FEDTRACK_SPEEDUPS'] = '0'; {code}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.splitlines()[1] == "log calls: in Python, because FEDTRACK_SPEEDUPS is 0"


def test_without_a_command_there_is_help_and_not_success() -> None:
    assert "Usage" in fedtrack(exit_code=2)
