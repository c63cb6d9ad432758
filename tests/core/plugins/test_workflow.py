"""What is checked of a workflow when its plugin is loaded."""

from __future__ import annotations

import pytest

from fedtrack.errors import PluginError
from fedtrack.plugins import State, registry
from support.throwaway import Install

PLUGIN = """
from fedtrack import FedAvg, Workflow, hookimpl

class Mine(Workflow):
    '''Does something.

    More about it.
    '''

    rounds: int = 1

    def execute(self, server): ...

class Silent(Workflow):
    def execute(self, server): ...

class Idle(Workflow):
    '''Does nothing.'''

class Plain:
    '''Is none.'''

    def execute(self, server): ...

@hookimpl
def fedtrack_workflows():
    return [{given}]
"""


def test_one_that_is_complete_is_known_by_the_name_of_its_class(install: Install) -> None:
    install("fedtrack-mine", PLUGIN.format(given="Mine"))
    assert registry().workflow("Mine").__struct_fields__ == ("rounds",)
    assert registry().owner("workflow", "Mine").package == "fedtrack-mine"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Mine()", "fedtrack_workflows returned Mine(rounds=1), which is no subclass of Workflow"),
        ("Plain", "which is no subclass of Workflow"),
        ("FedAvg", "FedAvg has no method execute(self, server)"),
        ("Idle", "Idle has no method execute(self, server)"),
        ("Silent", "Silent has no docstring; its first line is the summary in listings"),
        ("Mine, Mine", "it provides two workflows called 'Mine'"),
    ],
)
def test_one_that_is_not_makes_its_plugin_failed_with_the_reason(install: Install, given: str, reason: str) -> None:
    install("fedtrack-mine", PLUGIN.format(given=given))
    (plugin,) = [plugin for plugin in registry().plugins if plugin.package == "fedtrack-mine"]
    assert plugin.state is State.FAILED
    assert reason in plugin.reason
    with pytest.raises(PluginError, match=r"No workflow is called 'Mine'; installed: .*fedtrack-mine 1\.0"):
        registry().workflow("Mine")


def test_two_of_one_name_disable_each_other(install: Install) -> None:
    install("fedtrack-mine", PLUGIN.format(given="Mine"))
    install("fedtrack-yours", PLUGIN.format(given="Mine"))
    with pytest.raises(PluginError, match="both fedtrack-mine and fedtrack-yours provide a workflow called 'Mine'"):
        registry().workflow("Mine")
