"""The registry: which class a name means, and that one plugin's hook never stops the others."""

from __future__ import annotations

import logging
from importlib.metadata import distributions
from pathlib import Path

import pytest

from fedtrack import plugins
from fedtrack.errors import PluginError
from fedtrack.plugins import Plugin, Registry, State
from support.throwaway import Install, receivers

HOOK = """
from fedtrack import hookimpl
@hookimpl
def fedtrack_site_failed({arguments}):
    {body}
"""

PROVIDES = """
from fedtrack import Writer, hookimpl
from fedtrack.plugins.workflow import Workflow
from fedtrack.tracking.records import Metric

class CsvWriter(Writer):
    name, summary, supports = "csv", "Rows.", frozenset({Metric})

class Ring(Workflow):
    '''One after the other.'''
    laps: int = 1
    def execute(self, server): ...

class Cloud:
    name, summary = "cloud", "Elsewhere."

@hookimpl
def fedtrack_writers(): return [CsvWriter]
@hookimpl
def fedtrack_workflows(): return [Ring]
@hookimpl
def fedtrack_engines(): return [Cloud]
"""


def load(site: Path) -> Registry:
    return plugins.load([(e, d) for d in distributions(path=[str(site)]) for e in d.entry_points])


def test_a_name_that_several_classes_answer_to_is_refused_with_the_names_that_do_not(
    install: Install, site: Path
) -> None:
    install("fedtrack-aaa", receivers("one", cls="Csv"))
    install("fedtrack-bbb", receivers("two", extra="aliases = ('Csv',)"))
    with pytest.raises(PluginError, match=r"'Csv' means several receivers; use the name of one of them: 'one' \(fedt"):
        load(site).find_receiver("Csv")
    assert load(site).find_receiver("two").name == "two"


def test_a_registered_name_goes_before_an_alias(install: Install, site: Path) -> None:
    install("fedtrack-aaa", receivers("csv"))
    install("fedtrack-bbb", receivers("other", extra="aliases = ('csv',)"))
    assert load(site).find_receiver("csv").name == "csv"


def test_everything_that_is_provided_is_found_by_name_and_by_nothing_else(install: Install, site: Path) -> None:
    install("fedtrack-all", PROVIDES)
    found = load(site)
    assert found.writer("csv") is found.writer("CsvWriter")
    assert found.engine("cloud").summary == "Elsewhere."
    assert found.workflow("Ring")().laps == 1  # type: ignore[attr-defined]
    assert found.owner("engine", "cloud").package == "fedtrack-all"
    for kind in ("writer", "engine", "workflow", "example", "receiver"):
        listed = ", ".join(sorted(found.table(kind))) or "none"
        with pytest.raises(PluginError, match=f"^No {kind} is called 'nope'; installed: {listed}"):
            getattr(found, kind)("nope")


def test_a_hook_that_raises_is_named_and_the_others_are_called(
    install: Install, site: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = tmp_path / "seen"
    seen.touch()
    append = f"(lambda text: (p := __import__('pathlib').Path({str(seen)!r})).write_text(p.read_text() + text))"
    install("fedtrack-aaa", HOOK.format(arguments="site", body=f"{append}('a:' + site + ' ')"))
    install("fedtrack-bbb", HOOK.format(arguments="error, run", body="raise SystemExit('left')"))
    install("fedtrack-ccc", HOOK.format(arguments="", body=f"{append}('c ')"))
    with caplog.at_level(logging.ERROR):
        load(site).notify("fedtrack_site_failed", run=None, site="site-1", error="it died")
    assert sorted(seen.read_text().split()) == ["a:site-1", "c"]
    assert caplog.messages == ["plugin bbb: fedtrack_site_failed raised SystemExit: left"]


def test_ctrl_c_in_a_hook_is_the_users(install: Install, site: Path) -> None:
    install("fedtrack-aaa", HOOK.format(arguments="", body="raise KeyboardInterrupt"))
    with pytest.raises(KeyboardInterrupt):
        load(site).notify("fedtrack_site_failed", run=None, site="site-1", error="")


def test_hooks_are_listed_without_those_that_register(install: Install, site: Path) -> None:
    install("fedtrack-aaa", PROVIDES + HOOK.format(arguments="", body="pass"))
    found = load(site)
    assert found.hooks_of(found.plugins[0]) == ["fedtrack_site_failed"]
    assert found.hooks_of(Plugin("nobody", "x", "1")) == []


def test_a_complaint_ends_a_sentence() -> None:
    plugin = Plugin("csv", "fedtrack-csv", "1.0")
    plugin.fail(State.FAILED, "KeyError: 'home'", "pip install x")
    assert plugin.complaint() == "csv is failed (fedtrack-csv 1.0: KeyError: 'home'; to fix it: pip install x)"
    plugin.fail(State.DISABLED, "you said so")
    assert plugin.complaint() == "csv is disabled (fedtrack-csv 1.0: you said so)"


def test_an_unknown_name_that_is_a_broken_plugins_gets_that_plugins_reason_alone(install: Install, site: Path) -> None:
    install("fedtrack-csv", "raise RuntimeError('no luck')")
    install("fedtrack-tsv", "raise RuntimeError('other')")
    with pytest.raises(PluginError) as caught:
        load(site).receiver("csv")
    assert str(caught.value).startswith("The receiver 'csv' cannot be used: its plugin csv is failed (fedt")
    assert "other" not in str(caught.value)
