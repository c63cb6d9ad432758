"""What is checked of an aggregator when its plugin is loaded."""

from __future__ import annotations

import pytest

from fedtrack.plugins import State, registry
from support.throwaway import Install

PLUGIN = """
from fedtrack import hookimpl
from fedtrack_local import Aggregator

class Half(Aggregator):
    name = "half"
    summary = "Unfinished."
    def __init__(self, reference): ...
    def accept(self, site, params, params_type, weight): ...

class Whole(Half):
    def result(self): ...

class Plain:
    name = "plain"
    summary = "Derived from nothing."
    def __init__(self, reference): ...
    def accept(self, site, params, params_type, weight): ...
    def result(self): ...

class Nameless(Whole):
    name = None

@hookimpl
def fedtrack_aggregators():
    return [{given}]
"""


@pytest.mark.parametrize(("given", "name"), [("Whole", "half"), ("Plain", "plain")])
def test_one_that_is_complete_is_known_by_its_name(install: Install, given: str, name: str) -> None:
    install("fedtrack-half", PLUGIN.format(given=given))
    assert registry().aggregator(name).__name__ == given


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Half", "Half.result() is missing; an aggregator has the methods accept and result"),
        ("Nameless", "Nameless.name is missing; it must be a str"),
        ("Whole(None)", "return the class, not an instance"),
        ("object", "object.name is missing"),
    ],
)
def test_one_that_is_not_makes_its_plugin_failed_with_the_reason(install: Install, given: str, reason: str) -> None:
    install("fedtrack-half", PLUGIN.format(given=given))
    (plugin,) = [plugin for plugin in registry().plugins if plugin.package == "fedtrack-half"]
    assert plugin.state is State.FAILED
    assert reason in plugin.reason
