"""A plugin that fails in any way leaves the others usable. Plugins are real distributions, removed after the test."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from fedtrack import plugins
from fedtrack.errors import PluginError
from fedtrack.plugins import Plugin, Registry, State, loader, remedy
from support.throwaway import Install, receivers


def load(site: Path) -> Registry:
    return plugins.load([(e, d) for d in distributions(path=[str(site)]) for e in d.entry_points])


def only(registry: Registry) -> Plugin:
    (plugin,) = registry.plugins
    return plugin


def states(registry: Registry) -> dict[str, str]:
    return {plugin.package: plugin.state for plugin in registry.plugins}


def test_a_plugins_receivers_are_found_by_name_class_and_alias(install: Install, site: Path) -> None:
    install("fedtrack-csv", receivers("csv", cls="CsvReceiver", extra='aliases = ("nvflare.app_opt.CsvReceiver",)'))
    found = load(site)
    assert only(found) == Plugin("csv", "fedtrack-csv", "1.0", State.LOADED)
    cls = found.receiver("csv")
    assert found.receiver("CsvReceiver") is found.receiver("nvflare.app_opt.CsvReceiver") is cls
    assert found.owner("receiver", "csv").package == "fedtrack-csv"
    assert found.state_of(cls) == (State.LOADED, "")


def test_an_unknown_name_is_told_what_there_is(install: Install, site: Path) -> None:
    install("fedtrack-csv", receivers("csv"))
    install("fedtrack-bad", "raise RuntimeError('no luck')")
    with pytest.raises(PluginError) as caught:
        load(site).receiver("parquet")
    message = str(caught.value)
    assert "'parquet'" in message
    assert "installed: csv" in message
    assert (
        f"bad is failed (fedtrack-bad 1.0: RuntimeError: no luck ({site / 'fedtrack_bad.py'}:1); to fix it: "
        f"{remedy.repair('fedtrack-bad')}" in message
    )


OPTIONS = """import msgspec
from fedtrack import ReceiverOptions
class Own(ReceiverOptions):
    level: int = 'high'
"""

BROKEN = {
    "raises at import": ("raise ImportError('libfoo.so.1: cannot open')", "failed", "ImportError: libfoo.so.1"),
    "has a syntax error": ("def (", "failed", "SyntaxError"),
    "exits at import": ("raise SystemExit(3)", "failed", "SystemExit: 3"),
    "lacks a module": ("import no_such_sdk", "missing-dependency", "needs the module 'no_such_sdk'"),
    "asks for an argument that no hook has": (
        "from fedtrack import hookimpl\n@hookimpl\ndef fedtrack_job_started(run, colour): ...",
        "failed",
        "colour",
    ),
    "implements a hook that does not exist": (
        "from fedtrack import hookimpl\n@hookimpl\ndef fedtrack_job_begun(run): ...",
        "failed",
        "fedtrack_job_begun",
    ),
    "raises in a hook": (
        "from fedtrack import hookimpl\n@hookimpl\ndef fedtrack_receivers(): raise KeyError('home')",
        "failed",
        "KeyError: 'home'",
    ),
    "exits in a hook": (
        "from fedtrack import hookimpl\n@hookimpl\ndef fedtrack_writers(): raise SystemExit",
        "failed",
        "SystemExit",
    ),
    "returns an instance": (receivers("csv").replace("[Receiver0]", "[Receiver0()]"), "failed", "no subclass"),
    "returns a class and no list": (receivers("csv").replace("[Receiver0]", "Receiver0"), "failed", "return a list"),
    "returns a string": (receivers("csv").replace("[Receiver0]", "'csv'"), "failed", "return a list"),
    "has no summary": (receivers("csv").replace("summary", "summery"), "failed", "Receiver0.summary is missing"),
    "supports nothing": (receivers("csv").replace("supports", "support"), "failed", "Receiver0.supports is missing"),
    "raises an exception of its own": (
        "class Stop(BaseException): ...\nraise Stop('everything')",
        "failed",
        "Stop: everything (SITE/fedtrack_broken.py:2)",
    ),
    "hangs at import": (
        "import time\ntime.sleep(600)",
        "failed",
        "longer than 0.5 s to load (SITE/fedtrack_broken.py:2)",
    ),
    "loops for ever in a hook": (
        "from fedtrack import hookimpl\n@hookimpl\ndef fedtrack_receivers():\n    while True: ...",
        "failed",
        "longer than 0.5 s to load (SITE/fedtrack_broken.py:4)",
    ),
    "has a name with a space": (receivers("Bad Name"), "failed", "Receiver0.name is 'Bad Name'; a name has the"),
    "has no name": (receivers(""), "failed", "Receiver0.name is ''; a name has the characters"),
    "has a number as its name": (receivers("csv", extra="name = 3"), "failed", "Receiver0.name is missing; it must be"),
    "has two lines as its summary": (receivers("csv", extra=r"summary = 'a\nb'"), "failed", "must be one line"),
    "supports a list": (receivers("csv", extra="supports = [Metric]"), "failed", "supports is [<class"),
    "supports strings": (receivers("csv", extra="supports = frozenset({'metric'})"), "failed", "supports has 'metric'"),
    "supports no kind": (receivers("csv", extra="supports = frozenset()"), "failed", "at least one"),
    "requires a str": (receivers("csv", extra="requires = 'sqlite3'"), "failed", "requires is 'sqlite3'; it must be a"),
    "requires modules": (
        receivers("csv", extra="import os; requires = (os,)"),
        "failed",
        "it must be a tuple of names",
    ),
    "has a str as its aliases": (
        receivers("csv", extra="aliases = 'table'"),
        "failed",
        "aliases is 'table'; it must be",
    ),
    "has no command": (
        receivers("csv", extra="install = ['pip']"),
        "failed",
        "install is ['pip']; it must be a command",
    ),
    "has an api of another type": (receivers("csv", extra="api = '1'"), "incompatible", "written for api '1'"),
    "cannot receive": (
        receivers("csv").replace("def receive", "def recieve"),
        "failed",
        "Receiver0.receive() is missing",
    ),
    "has options of another kind": (
        receivers("csv", extra="Options = dict"),
        "failed",
        "Receiver0.Options is <class 'dict'>; it must",
    ),
    "has a wrong default": (
        OPTIONS + receivers("csv", extra="Options = Own"),
        "failed",
        "Own.level has the default 'high': Expected `int`, got `str` (SITE/fedtrack_broken.py:",
    ),
    "has a default that cannot be made": (
        OPTIONS.replace("level: int = 'high'", "level: int = msgspec.field(default_factory=lambda: 1 / 0)")
        + receivers("csv", extra="Options = Own"),
        "failed",
        "ZeroDivisionError: division by zero (SITE/fedtrack_broken.py:4)",
    ),
    "has an option of an unknown type": (
        OPTIONS.replace("int", "'Colour'") + receivers("csv", extra="Options = Own"),
        "failed",
        "NameError: name 'Colour' is not defined",
    ),
    "raises when it is constructed": (
        receivers("csv", extra="def __init__(self, *args): raise OSError('boom')"),
        "failed",
        "OSError: boom (SITE/fedtrack_broken.py:",
    ),
    "leaves when it is constructed": (
        receivers("csv", extra="def __init__(self): raise SystemExit(2)"),
        "failed",
        "SystemExit: 2 (SITE/fedtrack_broken.py:",
    ),
    "is of tomorrow": (receivers("csv", extra="api = 2"), "incompatible", "written for api 2, this core serves 1"),
    "names one thing twice": (receivers("csv", "csv"), "failed", "two receivers called 'csv'"),
    "has a nameless engine": (
        receivers("csv") + "\n@hookimpl\ndef fedtrack_engines(): return [object]",
        "failed",
        "object.name is missing",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_a_state_with_a_reason(
    install: Install, site: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(loader, "LOAD_SECONDS", 0.5 if "0.5 s" in BROKEN[fault][2] else 60)
    source, state, reason = BROKEN[fault]
    reason = reason.replace("SITE", str(site))
    install("fedtrack-broken", source)
    install("fedtrack-zebra", receivers("zebra"))
    found = load(site)
    assert states(found) == {"fedtrack-broken": state, "fedtrack-zebra": State.LOADED}
    assert reason in found.plugins[0].reason
    assert found.plugins[0].reason.startswith("fedtrack-broken 1.0: ")
    assert set(found.receivers) == {"zebra"}
    assert not found.hooks.has_plugin("broken")
    assert found.receiver("zebra").name == "zebra"


def test_what_a_plugin_prints_does_not_get_into_a_listing(
    install: Install, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("fedtrack-loud", "print('hello')\n" + receivers("loud").replace("return", "print('again'); return"))
    assert only(load(site)).state is State.LOADED
    assert capsys.readouterr().out == ""


def test_a_missing_sdk_is_named_with_its_remedy(install: Install, site: Path) -> None:
    install("fedtrack-csv", receivers("csv", extra='requires = ("no_such_sdk",); install = "pip install no-such-sdk"'))
    found = load(site)
    assert only(found).state is State.LOADED  # listings show it; only using it needs the SDK
    command = remedy.install("no-such-sdk")
    reason = f"fedtrack-csv needs no_such_sdk; install it with: {command}"
    assert found.state_of(found.receivers["csv"]) == (State.MISSING_DEPENDENCY, reason)
    with pytest.raises(PluginError, match=re.escape(command)):
        found.receiver("csv")


@pytest.mark.parametrize(
    ("requires", "state"),
    [
        ("fedtrack<0.1", State.INCOMPATIBLE),
        ("fedtrack (<0.1)", State.INCOMPATIBLE),
        ("Fedtrack[all]<0.1", State.INCOMPATIBLE),
        ("fedtrack >=99; python_version >= '3'", State.INCOMPATIBLE),
        ("fedtrack >>1", State.INCOMPATIBLE),
        ("fedtrack>=99; python_version < '3'", State.LOADED),
        ("fedtrack>=99; extra == 'next'", State.LOADED),
        ("fedtrack>=0.1.0.dev0", State.LOADED),
        ("fedtrack", State.LOADED),
        ("fedtrack-mlflow>=99", State.LOADED),
        ("numpy >>1", State.LOADED),
    ],
)
def test_a_plugin_for_another_core_is_incompatible(install: Install, site: Path, requires: str, state: State) -> None:
    install("fedtrack-csv", "raise AssertionError('imported')" if state is not State.LOADED else "", requires=requires)
    assert only(load(site)).state is state


def test_an_incompatible_plugin_says_what_it_needs(install: Install, site: Path) -> None:
    install("fedtrack-csv", "", requires="fedtrack>=99,<100")
    assert "needs fedtrack<100,>=99, this is fedtrack 0." in only(load(site)).reason


def test_two_receivers_of_one_name_disable_both_plugins(install: Install, site: Path) -> None:
    install("fedtrack-aaa", receivers("csv", "tsv"))
    install("fedtrack-bbb", receivers("csv", "parquet"))
    install("fedtrack-ccc", receivers("json"))
    found = load(site)
    assert states(found) == {"fedtrack-aaa": "conflict", "fedtrack-bbb": "conflict", "fedtrack-ccc": "loaded"}
    assert set(found.receivers) == {"json"}
    for plugin in found.plugins[:2]:
        assert "fedtrack-aaa and fedtrack-bbb" in plugin.reason
        assert not found.hooks.has_plugin(plugin.name)
    with pytest.raises(PluginError, match="fedtrack-aaa and fedtrack-bbb"):
        found.receiver("csv")


def test_a_third_plugin_does_not_win_by_coming_after_a_conflict(install: Install, site: Path) -> None:
    for package in ("fedtrack-aaa", "fedtrack-bbb", "fedtrack-ccc"):
        install(package, receivers("csv"))
    found = load(site)
    assert set(states(found).values()) == {"conflict"}
    assert found.receivers == {}
    assert "fedtrack-ccc" in found.plugins[2].reason


def test_a_failed_plugin_does_not_occupy_its_names(install: Install, site: Path) -> None:
    install("fedtrack-aaa", receivers("csv", "tsv", "tsv"))
    install("fedtrack-bbb", receivers("csv"))
    found = load(site)
    assert states(found) == {"fedtrack-aaa": "failed", "fedtrack-bbb": "loaded"}
    assert found.owner("receiver", "csv").package == "fedtrack-bbb"


def test_two_plugins_of_one_name_disable_each_other(install: Install, site: Path) -> None:
    install("one-csv", receivers("csv"), name="csv")
    install("other-csv", receivers("tsv"), name="csv")
    found = load(site)
    assert set(states(found).values()) == {"conflict"}
    assert found.receivers == {}
    assert all("one-csv and other-csv" in p.reason or "other-csv and one-csv" in p.reason for p in found.plugins)


def test_an_alias_that_two_receivers_share_is_an_error(install: Install, site: Path) -> None:
    install("fedtrack-aaa", receivers("csv", extra='aliases = ("table",)'))
    install("fedtrack-bbb", receivers("tsv", extra='aliases = ("table", "csv")'))
    found = load(site)
    with pytest.raises(PluginError, match=r"'table' means several.*'csv' \(fedtrack-aaa\), 'tsv' \(fedtrack-bbb\)"):
        found.receiver("table")
    assert found.owner("receiver", found.receiver("csv").name).package == "fedtrack-aaa"  # a name beats an alias


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("FEDTRACK_DISABLE_PLUGINS", "other, csv", "FEDTRACK_DISABLE_PLUGINS"),
        ("FEDTRACK_PLUGINS", "other", "FEDTRACK_PLUGINS"),
        ("FEDTRACK_PLUGINS", "", "FEDTRACK_PLUGINS"),
    ],
)
def test_a_disabled_plugin_is_not_imported(
    install: Install, site: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    install("fedtrack-csv", "raise AssertionError('imported')")
    monkeypatch.setenv(variable, value)
    plugin = only(load(site))
    assert plugin.state is State.DISABLED
    assert reason in plugin.reason


def test_an_allowed_plugin_is_loaded(install: Install, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fedtrack-csv", receivers("csv"))
    monkeypatch.setenv("FEDTRACK_PLUGINS", "mlflow,csv")
    assert only(load(site)).state is State.LOADED


def test_disabling_one_of_two_ends_a_conflict(install: Install, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fedtrack-aaa", receivers("csv"))
    install("fedtrack-bbb", receivers("csv"))
    monkeypatch.setenv("FEDTRACK_DISABLE_PLUGINS", "aaa")
    assert load(site).owner("receiver", "csv").package == "fedtrack-bbb"


def test_a_raising_life_cycle_hook_does_not_keep_the_others_from_being_called(
    install: Install, site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hook = "from fedtrack import hookimpl\ncalls = []\n@hookimpl\ndef fedtrack_round_ended(run, metrics):\n{body}"
    for package in ("fedtrack-aaa", "fedtrack-ccc"):
        install(package, hook.format(body=indent("calls.append((run, metrics))", "    ")))
    install("fedtrack-bbb", hook.format(body=indent("raise RuntimeError('disk gone')", "    ")))
    found = load(site)
    found.notify("fedtrack_round_ended", run="run", current_round=0, metrics={"loss": 0.5})
    for package in ("fedtrack_aaa", "fedtrack_ccc"):
        assert sys.modules[package].calls == [("run", {"loss": 0.5})]
    assert "plugin bbb: fedtrack_round_ended raised RuntimeError: disk gone" in caplog.text


def test_damaged_metadata_hides_no_other_plugin(install: Install, site: Path) -> None:
    install("fedtrack-csv", receivers("csv"))
    install("fedtrack-headless", "")
    (site / "fedtrack_headless-1.0.dist-info" / "METADATA").write_text("")
    install("unrelated-tool", "")
    (site / "unrelated_tool-1.0.dist-info" / "entry_points.txt").write_text("[fedtrack]\nno equals sign\n")
    listed = listing(site)
    assert ["csv", "fedtrack-csv", "loaded"] in listed["plugins"]
    assert "headless" in [name for name, _, _ in listed["plugins"]]
    assert "unrelated-tool: its entry points cannot be read" in listed["stderr"]


def test_strict_mode_stops_at_a_broken_plugin(install: Install, site: Path) -> None:
    install("fedtrack-broken", "raise RuntimeError('no luck')")
    assert "RuntimeError: no luck" in listing(site, FEDTRACK_STRICT_PLUGINS="1")["error"]
    assert listing(site, FEDTRACK_STRICT_PLUGINS="0")["error"] == ""
    strict_without = listing(site, FEDTRACK_STRICT_PLUGINS="1", FEDTRACK_DISABLE_PLUGINS="broken")
    assert strict_without["error"] == ""


def test_installed_plugins_are_found_without_being_told(install: Install, site: Path) -> None:
    install("fedtrack-csv", receivers("csv"))
    listed = listing(site, FEDTRACK_PLUGINS="csv")
    assert ["csv", "fedtrack-csv", "loaded"] in listed["plugins"]
    assert {state for name, _, state in listed["plugins"] if name != "csv"} <= {"disabled"}


def test_the_registry_is_loaded_once_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDTRACK_PLUGINS", "")
    plugins.unload()
    try:
        first = plugins.registry()
        assert plugins.registry() is first
        plugins.unload()
        assert plugins.registry() is not first
    finally:
        plugins.unload()


LISTING = """
import json, logging, sys
logging.basicConfig()
from fedtrack import plugins
from fedtrack.errors import PluginError
try:
    found, error = [[p.name, p.package, p.state] for p in plugins.registry().plugins], ""
except PluginError as caught:
    found, error = [], str(caught)
print(json.dumps({"plugins": found, "error": error}))
"""


def listing(site: Path, **variables: str) -> dict[str, Any]:
    """Return what ``plugins.registry()`` finds in a new process that has the folder on its path."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FEDTRACK_")}
    environment |= {"PYTHONPATH": str(site), **variables}
    command = [sys.executable, "-W", "error", "-c", LISTING]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return {**json.loads(ended.stdout), "stderr": ended.stderr}


def test_options_that_must_be_given_or_belong_together_are_no_fault(install: Install, site: Path) -> None:
    required = OPTIONS.replace("level: int = 'high'", "level: int")
    install("fedtrack-aaa", required + receivers("csv", extra="Options = Own"))
    together = (
        "def __init__(self):\n        from fedtrack.errors import ConfigError\n        raise ConfigError('give both')"
    )
    install("fedtrack-bbb", receivers("tsv", extra=together))
    paths = OPTIONS.replace("level: int = 'high'", "level: Path | None = Path('x')") + receivers(
        "psv", extra="Options = Own"
    )
    install("fedtrack-ccc", "from pathlib import Path\n" + paths)
    assert {plugin.reason for plugin in load(site).plugins} == {""}
