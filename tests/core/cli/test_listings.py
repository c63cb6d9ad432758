"""Every listing shows the usable plugins and the others, as a table and as JSON, and imports no SDK for it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from fedtrack.cli.app import build_app
from fedtrack.plugins import remedy
from support.throwaway import Install, receivers

COLUMNS = ["name", "package", "version", "state", "supports", "summary"]
HEAVY = ("torch", "mlflow", "wandb", "tensorboard", "google_crc32c", "sqlalchemy", "numpy", "pandas", "pyarrow")

WRITER = """
from fedtrack import Writer, hookimpl
from fedtrack.tracking.records import Metric, Tag

class CsvWriter(Writer):
    name = "csv"
    summary = "Rows."
    supports = frozenset({Metric, Tag})

@hookimpl
def fedtrack_writers():
    return [CsvWriter]

@hookimpl
def fedtrack_job_ended(run): ...
"""

ENGINE = """
from fedtrack import hookimpl

class CloudEngine:
    name = "cloud"
    summary = "Elsewhere."

@hookimpl
def fedtrack_engines():
    return [CloudEngine]
"""


def fedtrack(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(build_app(), list(arguments))
    assert result.exit_code == exit_code, result.output
    return result.stdout


def rows(group: str) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(fedtrack(group, "list", "--json"))}


@pytest.mark.parametrize("group", ["plugins", "receivers", "writers", "workflows", "engines"])
def test_a_listing_shows_a_broken_plugin_and_what_would_fix_it(install: Install, group: str) -> None:
    install("fedtrack-bad", "raise RuntimeError('no\\nluck')")
    row = rows(group)["bad"]
    assert (row["package"], row["version"], row["state"]) == ("fedtrack-bad", "1.0", "failed")
    assert row["reason"].startswith(
        "fedtrack-bad 1.0: RuntimeError: no ("
    )  # one line, and the place of the plugin's code
    assert row["reason"].endswith("fedtrack_bad.py:1)")
    assert row["remedy"] == remedy.install("fedtrack-bad", upgrade=True)
    (line,) = [line for line in fedtrack(group, "list").splitlines() if line.startswith("bad ")]
    assert f"fedtrack_bad.py:1); to fix it: {row['remedy']}" in line


def test_receivers_are_listed_with_what_they_support(install: Install) -> None:
    install("fedtrack-csv", receivers("csv"), version="2.5")
    row = rows("receivers")["csv"]
    assert [row[column] for column in COLUMNS] == [
        "csv",
        "fedtrack-csv",
        "2.5",
        "loaded",
        ["metric"],
        "A throw-away receiver.",
    ]
    header, *lines = fedtrack("receivers", "list").splitlines()
    assert header.split() == [column.upper() for column in COLUMNS]
    assert any(line.split()[:5] == ["csv", "fedtrack-csv", "2.5", "loaded", "metric"] for line in lines)


def test_writers_are_listed_with_their_import(install: Install) -> None:
    install("fedtrack-csv", WRITER)
    row = rows("writers")["csv"]
    assert row["import"] == "from fedtrack.client.tracking import CsvWriter"
    assert (row["state"], row["supports"], row["summary"]) == ("loaded", ["metric", "tag"], "Rows.")
    assert fedtrack("writers", "list").split()[: len(COLUMNS)] == [column.upper() for column in COLUMNS]


def test_plugins_are_listed_with_what_they_provide_and_which_hooks_they_implement(install: Install) -> None:
    install("fedtrack-csv", WRITER)
    assert rows("plugins")["csv"]["supports"] == ["writer csv", "hook fedtrack_job_ended"]
    assert rows("plugins")["local"]["supports"] == [
        "aggregator coordinate_median",
        "aggregator trimmed_mean",
        "aggregator weighted",
        "engine local",
        "workflow CrossSiteEval",
        "workflow FedAvg",
    ]


def test_workflows_are_listed_with_the_arguments_that_a_job_can_give() -> None:
    listed = rows("workflows")
    assert listed.keys() == {"CrossSiteEval", "FedAvg"}
    row = listed["FedAvg"]
    assert (row["package"], row["state"]) == ("fedtrack-local", "loaded")
    assert row["arguments"][:3] == ["num_clients", "fraction", "num_rounds"]
    assert "persistor_id" not in row["arguments"]
    assert row["summary"].startswith("Federated averaging: ")


def test_engines_are_listed(install: Install) -> None:
    install("fedtrack-cloud", ENGINE)
    listed = rows("engines")
    assert listed["local"]["package"] == "fedtrack-local"
    assert (listed["cloud"]["state"], listed["cloud"]["summary"]) == ("loaded", "Elsewhere.")


def test_a_receiver_without_its_sdk_can_be_looked_at(install: Install) -> None:
    install("fedtrack-csv", receivers("csv", extra="requires = ('no_such_sdk',); install = 'pip install no-such-sdk'"))
    assert rows("receivers")["csv"]["state"] == "missing-dependency"
    row = json.loads(fedtrack("receivers", "info", "csv", "--json"))
    assert (row["state"], row["remedy"]) == ("missing-dependency", remedy.install("no-such-sdk"))
    assert "no_such_sdk" in fedtrack("receivers", "info", "csv")


def test_info_lists_every_argument(install: Install) -> None:
    options = """
    aliases = ("Csv2",)
    class Options(ReceiverOptions):
        folder: str
        columns: list[str] = []
        width: int = 80
    """
    source = "from fedtrack import ReceiverOptions\n" + receivers("csv", extra=options)
    install("fedtrack-csv", source)
    row = json.loads(fedtrack("receivers", "info", "Csv2", "--json"))
    assert row["aliases"] == ["Csv2"]
    assert row["arguments"] == [
        {"name": "folder", "type": "str", "default": "required"},
        {"name": "columns", "type": "list[str]", "default": "[]"},
        {"name": "width", "type": "int", "default": "80"},
        {"name": "events", "type": "list[str] | None", "default": "None"},
    ]
    shown = fedtrack("receivers", "info", "csv")
    assert "  width: int = 80" in shown
    assert "aliases:   Csv2" in shown


@pytest.mark.parametrize("group", ["plugins", "receivers", "writers", "workflows", "engines"])
def test_a_listing_imports_no_sdk(group: str) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['fedtrack', {group!r}, 'list', '--json']\n"
        "from fedtrack.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {row["state"] for row in json.loads(ended.stdout)} == {"loaded"}
    assert ended.stderr.strip() == "[]"
