"""``fedtrack engines``: what an engine can do, and what it would refuse, for people and for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedtrack.errors import PluginError
from support.command_line import fedtrack
from support.throwaway import Install

ENGINE = """
from fedtrack import hookimpl
from fedtrack.engine import Problem

class CloudEngine:
    name, summary = "cloud", "Elsewhere."
    def check(self, job, target):
        problem = Problem("it has no " + target, fatal=target == "bad")
        return [] if target == "good" else [problem]
    def close(self):
        print("closed")

@hookimpl
def fedtrack_engines():
    return [CloudEngine]
"""


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("good", 0, ["closed", "job can run on good."]),
        ("odd", 0, ["closed", "note: it has no odd", "job can run on odd."]),
        ("bad", 2, ["closed", "error: it has no bad"]),
    ],
)
def test_only_what_is_fatal_keeps_a_job_from_running(target: str, code: int, said: list[str], install: Install) -> None:
    install("fedtrack-cloud", ENGINE)
    assert fedtrack("engines", "check", "cloud", "job", "--target", target, exit_code=code).splitlines() == said


def test_an_engine_says_what_it_can_do() -> None:
    caps = json.loads(fedtrack("engines", "info", "local", "--json"))
    lines = fedtrack("engines", "info", "local").splitlines()
    assert [line.partition(":")[0] for line in lines] == list(caps)


def test_an_unknown_engine_is_told_which_there_are() -> None:
    with pytest.raises(PluginError, match=r"No engine is called 'ray'; installed: .*local"):
        fedtrack("engines", "check", "ray", str(Path()), "--target", "x")
