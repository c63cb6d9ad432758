"""Software: a package outside its tested range, a broken plugin and an untested Python are found, and nothing else."""

from __future__ import annotations

import pytest

from fedtrack.cli.diagnosis.finding import Level
from fedtrack.cli.diagnosis.software import _python, packages, software
from fedtrack.plugins.metadata import Package
from support.throwaway import Install

OTHER_SYSTEM = 'left>=9; sys_platform == "nowhere"'


def found(*requires: str, left: str | None = "1.5") -> list[tuple[str, Level, str]]:
    installed = {"fedtrack": Package("fedtrack", "0.1.0", "", requires)}
    if left is not None:
        installed["left"] = Package("left", left, "", ())
    return [(one.name, one.level, one.found) for one in packages(installed)]


@pytest.mark.parametrize(
    ("requires", "left", "said"),
    [
        (("left>=1,<2",), "2.0", "left 2.0 is installed; tested are left<2,>=1"),
        (("left>=1,<2",), None, "left<2,>=1 is not installed"),
        (("left>=2 ; extra == 'receiver'",), "1.5", "left 1.5 is installed; tested are left>=2"),
        (('left>=2; extra == "collect"',), "1.5", "left 1.5 is installed; tested are left>=2"),
    ],
)
def test_what_is_outside_the_tested_range_needs_action(requires: tuple[str, ...], left: str | None, said: str) -> None:
    assert found(*requires, left=left) == [("fedtrack", Level.ACTION, said)]


@pytest.mark.parametrize(
    ("requires", "left", "shown"),
    [
        (("left>=1,<2",), "1.5", "0.1.0 (with left 1.5)"),
        (("left>=1,<2",), "1.6rc1", "0.1.0 (with left 1.6rc1)"),
        (("left>=2 ; extra == 'receiver'",), None, "0.1.0"),  # nothing says that somebody asked for the extra
        (("left>=2 ; extra == 'dev'",), "1.5", "0.1.0"),
        ((OTHER_SYSTEM,), "1.5", "0.1.0"),
        (("left @ file:///clone/left",), "1.5", "0.1.0"),
        (("left>=1,<2",), "of my own", "0.1.0 (with left of my own)"),
        (("no requirement at all !",), None, "0.1.0"),
    ],
)
def test_what_is_as_tested_or_unused_needs_nothing(requires: tuple[str, ...], left: str | None, shown: str) -> None:
    assert found(*requires, left=left) == [("fedtrack", Level.OK, shown)]


def test_a_plugin_is_looked_at_and_a_stranger_is_not() -> None:
    installed = {
        "fedtrack-csv": Package("fedtrack-csv", "2", "", ("fedtrack<0.2", "gone>=1")),
        "stranger": Package("stranger", "1", "", ("gone>=1",)),
        "fedtrack": Package("fedtrack", "0.1.0", "", ()),
    }
    (bad,) = [one for one in packages(installed) if one.level is Level.ACTION]
    assert (bad.name, bad.found) == ("fedtrack-csv", "gone>=1 is not installed")
    assert "gone>=1" in bad.remedy


def test_an_untested_python_is_a_note() -> None:
    assert _python([11, 12], minor=12).level is Level.OK
    untested = _python([11, 12], minor=15)
    assert untested.level is Level.NOTE
    assert untested.found.endswith("tested are 3.11 to 3.12")


def test_each_state_of_a_plugin_is_told_with_its_remedy(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("fedtrack-bad", "raise RuntimeError('no')")
    install("fedtrack-off", "")
    monkeypatch.setenv("FEDTRACK_DISABLE_PLUGINS", "off")
    rows = {one.name: one for one in software()}
    assert rows["plugin bad"].level is Level.ACTION
    assert "RuntimeError: no" in rows["plugin bad"].found
    assert "fedtrack-bad" in rows["plugin bad"].remedy
    assert rows["plugin off"].level is Level.NOTE
    assert rows["plugin local"].level is Level.OK
    assert (
        rows["log call"].found == "compiled" or rows["log call"].level is Level.NOTE or "is 0" in rows["log call"].found
    )
