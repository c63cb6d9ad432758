"""Visible: nothing in a text of others has an effect on a terminal, and every other text stays as it is."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table

from fedtrack.delivery.report import ReceiverTally
from fedtrack.errors import SiteError, report_errors
from fedtrack.failure import TracebackFormatter, VisibleFormatter, failure_of
from fedtrack.output import echo, say
from fedtrack.runs.page import print_summary
from fedtrack.runs.result import RunResult
from fedtrack.runs.tally import SiteTally
from fedtrack.terminal import Terminal
from fedtrack.visible import visible

pytestmark = pytest.mark.threat("T5")

ROOT = Path(__file__).parents[2]

#: Clears the screen, sets the title, hides, turns around, breaks the line, marks up, and halves of characters.
HOSTILE = (
    "\x1b[2J\x1b[H",
    "\x1b]0;owned\x07",
    "\x1b[8mhidden\x1b[0m",
    "\x9b2J",
    "\x90q\x9c",
    "a\rb",
    "a\bb",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u200bx\ufeff",
    "\u2028x",
    "[bold red]x[/]",
    "[link=http://x]y[/link]",
    ":skull:",
    "\ud800",
    "\U000e0041",
)


def is_plain(text: str) -> bool:
    return all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_shown_and_has_no_effect(text: str) -> None:
    assert is_plain(visible(text))
    visible(text).encode()
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize("text", ["", "loss", "Größe 5 µm", "名前", "a\tb\nc", "a\r\nb\r\n", "👍🏽", "[r]", "e\u0301"])
def test_other_texts_stay(text: str) -> None:
    assert visible(text) == text


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(st.characters(exclude_characters="\r\u200c\u200d")))
def test_no_text_controls_a_terminal(text: str) -> None:
    shown = visible(text)
    assert [c for c in shown if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")] == []
    assert not re.search("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]", shown)


def result(text: str) -> RunResult:
    receiver = ReceiverTally(text, text, 3, {text: 2}, 1, 1, text, id=text, location=text, command=text)
    return RunResult(
        run_id=text,
        job_name=text,
        status="failed",
        error=text,
        workspace=Path(f"/ws/{text}"),
        folder=Path(f"/ws/{text}/server/simulate_job"),
        seconds=1.0,
        rounds=[],
        final_metrics={text: 1.0},
        best_round=None,
        sites={text: SiteTally(None, 3, dropped=None, in_spool=2, unreadable=text)},
        receivers={text: receiver},
        gaps=[(text, text)],
        cross_site={text: {text: {text: 1.0}}},
        waiting={text: text},
        key_metric=text,
    )


@pytest.mark.parametrize("text", [text for text in HOSTILE if text != "\ud800"])
def test_the_page_of_a_run_prints_it_as_it_is(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_summary(result(text))
    out = capsys.readouterr().out
    assert is_plain(out)
    if text.isascii() and text.isprintable():  # markup and names of pictures
        assert f"{text}: failed in 1.0 s" in out


@pytest.mark.parametrize("text", HOSTILE)
def test_messages_of_every_kind_are_plain(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"x {text} y")
    echo(text, err=True, nl=False)
    say(text)
    with pytest.raises(SystemExit), report_errors():
        raise SiteError("site-1", text, details=f"Traceback {text}")
    record = logging.LogRecord("sdk", 40, "f", 1, "%s", (text,), None)
    record.traceback = text
    for formatter in (VisibleFormatter(), TracebackFormatter()):
        assert is_plain(formatter.format(record))
    failed = failure_of(ValueError(text), __name__)
    assert is_plain(failed.sentence + failed.text)
    done = capsys.readouterr()
    assert is_plain(done.out + done.err)


def test_a_table_on_a_terminal_has_colours_of_its_own_and_nothing_else() -> None:
    stream = io.StringIO()
    console = Terminal(stream, force_terminal=True, width=200)  # type: ignore[arg-type]
    for text in HOSTILE:
        table = Table(title=text)
        table.add_column(text)
        table.add_row(text)
        console.print(table)
        console.print(text, style="bold")
    # What is left after rich's own sequences has none.
    shown = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    assert is_plain(shown)
    assert shown.count("[bold red]x[/]") == 4
    assert "[8mhidden" in shown
    assert ":skull:" in shown


def test_nothing_is_printed_past_these_functions() -> None:
    """A command that calls typer's or Python's own function would let a site write into the terminal."""
    sources = [*(ROOT / "core/src/fedtrack").rglob("*.py"), *(ROOT / "plugins/local/src").rglob("*.py")]
    own = {"output.py", "terminal.py", "errors.py", "redaction.py", "visible.py"}
    # Lines of a site's own log, which nobody's terminal shows.
    own |= {"failure_report.py", "worker.py", "child.py"}
    found = []
    for path in sources:
        if path.name in own or "templates" in path.parts or "testing" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "typer.echo", "typer.secho", "click.echo", "rich.print", "Console"):
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: {called}")
    assert found == []


def test_json_stays_json(capsys: pytest.CaptureFixture[str]) -> None:
    echo(json.dumps({"name": "\x1b[2J\u202e"}))
    assert json.loads(capsys.readouterr().out) == {"name": "\x1b[2J\u202e"}
