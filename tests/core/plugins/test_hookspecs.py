"""Hook specifications: what a plugin's author can rely on in each of them."""

from __future__ import annotations

import ast
import inspect
from types import SimpleNamespace
from typing import Any

import pluggy
import pytest

from fedtrack.plugins import hookspecs
from fedtrack.plugins.plugin_registry import KINDS_PROVIDED

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("fedtrack_")}


def test_there_is_a_hook_for_everything_that_plugins_provide() -> None:
    assert {f"fedtrack_{kind}s" for kind in KINDS_PROVIDED} <= HOOKS.keys()


@pytest.mark.parametrize("name", HOOKS)
def test_pluggy_takes_it_and_an_implementation_may_leave_arguments_out(name: str) -> None:
    manager = pluggy.PluginManager("fedtrack")
    manager.add_hookspecs(hookspecs)

    def implementation() -> None: ...

    manager.register(SimpleNamespace(**{name: pluggy.HookimplMarker("fedtrack")(implementation)}))
    manager.check_pending()
    assert getattr(manager.hook, name).spec is not None


@pytest.mark.parametrize("name", HOOKS)
def test_every_argument_is_described_and_has_a_type(name: str) -> None:
    signature = inspect.signature(HOOKS[name])
    described = (inspect.getdoc(HOOKS[name]) or "").partition("Args:")[2]
    for argument, parameter in signature.parameters.items():
        assert f"    {argument}: " in described
        assert parameter.annotation is not inspect.Parameter.empty
        assert parameter.default is inspect.Parameter.empty  # pluggy would hand the default out instead


def test_hooks_that_report_say_of_which_run_they_speak() -> None:
    reporting: list[Any] = [name for name in HOOKS if name.endswith(("_started", "_ended", "_failed", "_received"))]
    assert len(reporting) == 6
    for name in reporting:
        assert next(iter(inspect.signature(HOOKS[name]).parameters)) == "run"


def test_it_is_light() -> None:
    tree = ast.parse(inspect.getsource(hookspecs))
    imported = {n.module for n in tree.body if isinstance(n, ast.ImportFrom)}
    assert imported == {"__future__", "collections.abc", "typing", "fedtrack.plugins.markers"}
