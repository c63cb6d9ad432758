"""The page of promises names existing parts only, and all of them."""

from __future__ import annotations

import re

import fedtrack
from fedtrack import plugins, testing
from fedtrack.plugins import SUPPORTED_APIS, State
from fedtrack.tracking.receiver import Receiver
from support.venv import ROOT

PAGE = (ROOT / "docs" / "plugins" / "stability.md").read_text()


def names_of(module: str) -> list[str]:
    (row,) = re.findall(rf"^\| `{re.escape(module)}` \| (.*) \|$", PAGE, re.MULTILINE)
    return re.findall(r"`(\w+)`", row)


def test_the_public_names_are_those_that_the_packages_export() -> None:
    assert names_of("fedtrack") == sorted(fedtrack.__all__)
    assert names_of("fedtrack.testing") == sorted(testing.__all__)
    assert set(names_of("fedtrack.plugins")) <= set(plugins.__all__)


def test_every_state_is_explained() -> None:
    section = PAGE.partition("## States")[2].partition("| variable")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == {state.value for state in State}


def test_the_api_number_is_the_current_one() -> None:
    (number,) = re.findall(r"written for: `(\d+)` now", PAGE)
    assert int(number) == max(SUPPORTED_APIS) == Receiver.api


def test_every_variable_of_the_loader_is_explained() -> None:
    source = (ROOT / "core" / "src" / "fedtrack" / "plugins" / "loader.py").read_text()
    read = set(re.findall(r'environ\.get\("(FEDTRACK_\w+)"', source))
    assert set(re.findall(r"^\| `(FEDTRACK_\w+)` \|", PAGE, re.MULTILINE)) == read
