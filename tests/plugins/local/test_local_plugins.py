"""A broken plugin stops the job that needs it before anything is started, and no other job."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.plugins import registry
from fedtrack_local.engine import LocalEngine
from support.throwaway import Install, receivers

from .conftest import MakeJob

pytestmark = pytest.mark.slow

HOOKS = "from fedtrack import hookimpl\n@hookimpl\n"

UPGRADE = "pip install .*--upgrade fedtrack-csv"

#: What is wrong with the plugin, its source, what its distribution requires, the reason and a pattern of the remedy.
FAULTS = {
    "import error": (
        "raise ImportError('libfoo.so.1')",
        "",
        "failed",
        "libfoo.so.1",
        UPGRADE,
    ),
    "exits at import": ("raise SystemExit(3)", "", "failed", "SystemExit: 3", UPGRADE),
    "wrong hook signature": (
        HOOKS + "def fedtrack_job_ended(run, colour): ...",
        "",
        "failed",
        "colour",
        UPGRADE,
    ),
    "raises at registration": (
        HOOKS + "def fedtrack_receivers(): raise KeyError('home')",
        "",
        "failed",
        "KeyError: 'home'",
        UPGRADE,
    ),
    "module missing": (
        "import no_such_module",
        "",
        "missing-dependency",
        "'no_such_module'",
        UPGRADE,
    ),
    "SDK missing": (
        receivers("csv", extra="requires = ('no_such_sdk',); install = 'pip install fedtrack-csv[receiver]'"),
        "",
        "missing-dependency",
        "no_such_sdk",
        r"pip install .*'fedtrack-csv\[receiver\]'",
    ),
    "other core": (
        receivers("csv"),
        "fedtrack>=99",
        "incompatible",
        "fedtrack>=99",
        r"pip install .*--upgrade .*core fedtrack-csv",
    ),
    "other api": (
        receivers("csv", extra="api = 2"),
        "",
        "incompatible",
        "written for api 2",
        r"pip install .*--upgrade .*core fedtrack-csv",
    ),
}


def job_with(make_job: MakeJob, receiver: str, folder: Path) -> Path:
    """Export a job of one site whose server has a receiver of that name, installed or not."""
    exported = make_job(n_clients=1, num_rounds=1).export_job(folder)
    path = exported / "app_server" / "config" / "config_fed_server.json"
    config = json.loads(path.read_text())
    config["components"].append({"id": "shown", "path": receiver, "args": {}})
    path.write_text(json.dumps(config))
    return exported


def refusal(make_job: MakeJob, tmp_path: Path, receiver: str = "csv") -> str:
    """Return why a job that needs the receiver does not start."""
    folder = job_with(make_job, receiver, tmp_path / "jobs")
    with pytest.raises(ConfigError) as caught:
        LocalEngine().run(folder, tmp_path / "ws")
    assert not list((tmp_path / "ws").glob("site-*")), "a site was started"
    return str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_job_that_needs_a_broken_plugin_says_how_to_fix_it(
    make_job: MakeJob, install: Install, tmp_path: Path, fault: str
) -> None:
    source, requires, state, reason, command = FAULTS[fault]
    install("fedtrack-csv", source, requires=requires)
    install("fedtrack-other", "raise ImportError('has nothing to do with it')")
    message = refusal(make_job, tmp_path)
    assert "fedtrack-other" not in message
    for part in ("config_fed_server.json", "'csv'", state, "fedtrack-csv", reason):
        assert part in message
    assert re.search(command, message)
    assert "--force-reinstall" not in message


def test_a_job_that_needs_a_name_in_conflict_names_both_distributions(
    make_job: MakeJob, install: Install, tmp_path: Path
) -> None:
    install("fedtrack-aaa", receivers("csv"))
    install("fedtrack-bbb", receivers("csv"))
    message = refusal(make_job, tmp_path)
    assert "conflict" in message
    assert re.search("pip uninstall .*fedtrack-aaa or .*pip uninstall .*fedtrack-bbb", message)


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("FEDTRACK_DISABLE_PLUGINS", "csv,tsv", "export FEDTRACK_DISABLE_PLUGINS=tsv"),
        ("FEDTRACK_PLUGINS", "local", "export FEDTRACK_PLUGINS=local,csv"),
    ],
)
def test_a_job_that_needs_a_disabled_plugin_says_how_to_enable_it(
    make_job: MakeJob,
    install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    remedy: str,
) -> None:
    install("fedtrack-csv", receivers("csv"))
    monkeypatch.setenv(variable, value)
    message = refusal(make_job, tmp_path)
    assert "disabled" in message
    assert remedy in message


def test_a_job_that_needs_none_of_them_runs(
    make_job: MakeJob, install: Install, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number, (source, requires, *_) in enumerate(FAULTS.values()):
        install(f"broken-{number}", source.replace("'csv'", f"'csv{number}'"), requires=requires)
    install("fedtrack-aaa", receivers("csv"))
    install("fedtrack-bbb", receivers("csv"))
    install("fedtrack-loud", "print('PRINTED AT IMPORT')")
    install("fedtrack-hooks", HOOKS + "def fedtrack_job_started(run): raise SystemExit('hook left')")
    unusable = [plugin.package for plugin in registry().plugins if plugin.state != "loaded"]
    assert len(unusable) == len(FAULTS) - 1 + 2  # one only lacks its receiver's SDK
    result = make_job(n_clients=1, num_rounds=1).simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    assert result.sites["site-1"].journaled == 50
    assert "PRINTED AT IMPORT" not in capfd.readouterr().out
