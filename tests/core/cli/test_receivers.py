"""``fedtrack receivers``: what is asked about one is answered for programs too, and a failed check is a failure."""

from __future__ import annotations

import json

import pytest

from fedtrack.errors import PluginError
from support.command_line import fedtrack
from support.throwaway import Install, receivers


@pytest.mark.parametrize(
    ("body", "code"), [("pass", 0), ("raise RuntimeError('no such table')", 1), ("raise SystemExit('left')", 1)]
)
def test_a_check_ends_with_a_code_that_scripts_can_use(body: str, code: int, install: Install) -> None:
    source = receivers("csv").replace("def open(self, run): ...", f"def open(self, run):\n        {body}")
    install("fedtrack-csv", source)
    steps = json.loads(fedtrack("receivers", "check", "csv", "--json", exit_code=code))
    assert any(step["outcome"] == "failed" for step in steps) is bool(code)
    assert fedtrack("receivers", "check", "csv", exit_code=code).splitlines()[0].split() == [
        "STEP",
        "OUTCOME",
        "SECONDS",
        "DETAIL",
    ]


def test_an_unknown_receiver_is_told_which_there_are(install: Install) -> None:
    install("fedtrack-csv", receivers("csv"))
    with pytest.raises(PluginError, match=r"No receiver is called 'nope'; installed: .*csv"):
        fedtrack("receivers", "info", "nope")


def test_an_argument_that_must_be_given_is_shown_as_such(install: Install) -> None:
    options = "class Options(ReceiverOptions):\n        address: str\n        tries: int | None = None"
    install("fedtrack-csv", "from fedtrack import ReceiverOptions\n" + receivers("csv", extra=options))
    shown = fedtrack("receivers", "info", "csv")
    assert "  address: str = required" in shown
    assert "  tries: int | None = None" in shown
