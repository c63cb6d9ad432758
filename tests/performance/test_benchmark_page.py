"""The benchmarks' command: every registered benchmark can run, and the hand-written parts of the page are kept."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return benchmarks.__main__, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)
    import benchmarks.__main__ as module

    return module


def test_every_registered_benchmark_that_exists_can_be_run(command: ModuleType) -> None:
    found = {entry.name: command.load(entry.name) for entry in command.REGISTRY}
    assert {"log_call", "throughput", "latency"} <= {name for name, module in found.items() if module}
    for module in filter(None, found.values()):
        assert isinstance(module.title, str)
        assert list(inspect.signature(module.run).parameters) == ["quick"]


def test_every_module_of_the_folder_is_registered(command: ModuleType) -> None:
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py")} - {
        "__init__",
        "__main__",
        "table",
        "python_spool",
        "log_writers",
        "checkouts",
        "verify",  # minutes for 100,000 names; not on the page yet
    }
    assert names <= {entry.name for entry in command.REGISTRY}


class Fake:
    """Stands for a benchmark, which would take a minute."""

    title = "A title"

    def __init__(self, table: Any) -> None:
        self.table, self.runs = table, []  # type: ignore[var-annotated]

    def run(self, quick: bool) -> list[Any]:
        self.runs.append(quick)
        return [self.table]


@pytest.fixture
def page(command: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a page that an earlier run has written, for the benchmarks "one" and "two.more"."""
    page = tmp_path / "performance.md"
    page.write_text(f"# Before\n\n{command.BEGIN}\nA machine.\n\n{command.END}\n# After\n")
    monkeypatch.setattr(command, "PAGE", page)
    monkeypatch.setattr(command, "REGISTRY", (command.Entry("one"), command.Entry("two.more", quick=False)))
    command.write({"two.more": "### Old\n\nsecond", "one": "### Old\n\nfirst"})
    return page


def test_a_run_replaces_what_an_earlier_one_wrote_and_nothing_else(
    command: ModuleType, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(command.Table("Heading", ("what", "how much"), [("a", 1), ("b", "2")], "A note."))
    monkeypatch.setattr(command, "load", lambda name: fake)
    for arguments, expected in ((["--write"], [True]), (["--write", "--full"], [False, False])):
        fake.runs.clear()
        command.main(arguments)
        assert fake.runs == expected
        text = page.read_text()
        assert text.startswith(f"# Before\n\n{command.BEGIN}")
        assert text.endswith(f"{command.END}\n# After\n")
        assert ("first" in text, "second" in text) == (False, len(expected) == 1)
        assert "### Heading\n\n| what | how much |\n| --- | --- |\n| a | 1 |\n| b | 2 |\n\nA note.\n" in text
        assert text.count("### Heading") == len(expected)
        assert text.index("<!-- one -->") < text.index("<!-- two.more -->")
        assert "`python -m benchmarks one" in text
        assert "load before" in text
        assert text.count("Python") == 1


def test_one_benchmark_replaces_its_own_part_and_nothing_else(
    command: ModuleType, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(command.Table("Heading", ("what",), [("a",)], ""))
    monkeypatch.setattr(command, "load", lambda name: fake)
    command.main(["two.more", "--write"])
    text = page.read_text()
    assert ("first" in text, "second" in text, "### Heading" in text) == (True, False, True)
    once = text.split("`python")[0]
    command.main(["two.more", "--write"])
    assert page.read_text().split("`python")[0] == once


def test_what_has_been_measured_is_kept_when_a_later_benchmark_fails(
    command: ModuleType, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(command.Table("Heading", ("what",), [("a",)], ""))
    monkeypatch.setattr(command, "load", lambda name: fake if name == "one" else Fake(None))
    with pytest.raises(AttributeError):
        command.main(["--write", "--full"])
    text = page.read_text()
    assert ("first" in text, "second" in text, "### Heading" in text) == (False, True, True)


def test_what_is_not_known_is_refused(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nothing"])
    assert "log_call" in capsys.readouterr().err


def test_the_page_has_a_place_for_the_tables(command: ModuleType) -> None:
    text = command.PAGE.read_text()
    assert 0 < text.index(command.BEGIN) < text.index(command.END)


def test_a_spread_shows_the_median_the_least_and_the_most(command: ModuleType) -> None:
    from benchmarks.table import quantile, spread

    assert spread([3.0, 1.0, 2.0]) == "2.00 (1.00 to 3.00)"
    assert spread([2.0]) == "2.00"
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == 3.0
