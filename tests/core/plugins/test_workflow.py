"""Workflow: the base of what a job can ask for, and what a third party's subclass gets from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fedtrack.errors import NotSupported
from fedtrack.plugins.workflow import Workflow


class Ring(Workflow):
    """One site after the other."""

    laps: int = 1
    sites: list[str] = []


def test_its_fields_are_the_arguments_of_a_job_file() -> None:
    assert msgspec.convert({"laps": 3}, Ring) == Ring(laps=3)
    with pytest.raises(msgspec.ValidationError, match="unknown field `lap`"):
        msgspec.convert({"lap": 3}, Ring)


def test_one_that_cannot_be_executed_says_its_name() -> None:
    Ring().check(["a"])
    server: Any = None
    with pytest.raises(NotSupported, match="The workflow Ring is described here, but no installed plugin executes it"):
        Ring().execute(server)
