"""A failure shows the author's own file and line, whatever was raised and however deep."""

from __future__ import annotations

import importlib
import logging
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from fedtrack.errors import ConfigError
from fedtrack.failure import (
    MOST_SENTENCE,
    MOST_TEXT,
    Failure,
    TracebackFormatter,
    failure_of,
    failure_of_script,
    shortened,
)

#: A stand-in for a plugin: a package whose function calls a library that raises.
BACKEND = """
import json
from concurrent.futures import ThreadPoolExecutor

def parse(text):
    return json.loads(text)  # line 6

def chained():
    try:
        parse("{")
    except ValueError as error:
        raise RuntimeError("not readable") from error  # line 12

def grouped():
    errors = []
    for text in "{[":
        try:
            parse(text)
        except ValueError as error:
            errors.append(error)
    raise ExceptionGroup("two files", errors)  # line 21

def later():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(parse, "{").result()  # line 25

def broken():
    from acme_backend import unreadable

class Silent(Exception):
    def __str__(self):
        raise KeyError("no text")

def silent():
    raise Silent  # line 35

def recursive(depth=0):
    return recursive(depth + 1)  # line 38
"""


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    package = tmp_path / "acme_backend"
    package.mkdir()
    (package / "__init__.py").write_text(BACKEND)
    (package / "unreadable.py").write_text("x = 1\ny = (\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.startswith("acme_backend")]:
        del sys.modules[name]


def caught(call: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as info:  # noqa: PT011 - any kind
        call()
    return info.value


@pytest.mark.parametrize(
    ("function", "sentence", "line"),
    [
        ("chained", "RuntimeError: not readable", 12),
        ("grouped", "ExceptionGroup: two files (2 sub-exceptions), the first is JSONDecodeError: Expecting", 6),
        ("later", "JSONDecodeError: Expecting property name", 6),
        ("silent", "Silent: (its message cannot be shown)", 35),
        ("recursive", "RecursionError: maximum recursion depth exceeded", 38),
    ],
)
def test_place_is_the_deepest_frame_of_the_plugin_and_not_of_its_library(
    backend: Path, function: str, sentence: str, line: int
) -> None:
    module = importlib.import_module("acme_backend")
    failure = failure_of(caught(getattr(module, function)), "acme_backend.receiver")
    assert failure.sentence.startswith(sentence)
    assert failure.location == f"{backend / '__init__.py'}:{line}"
    assert "test_failure.py" in failure.text  # the whole traceback, with the caller


def test_a_file_that_is_no_python_is_its_own_place(backend: Path) -> None:
    module = importlib.import_module("acme_backend")
    failure = failure_of(caught(module.broken), "acme_backend")
    assert failure.sentence.startswith("SyntaxError: '(' was never closed")
    assert failure.location == f"{backend / 'unreadable.py'}:2"


def test_an_exception_of_other_code_has_no_place(backend: Path) -> None:
    importlib.import_module("acme_backend")
    failure = failure_of(caught(lambda: int("x")), "acme_backend")
    assert (failure.location, str(failure)) == ("", failure.sentence)


def test_a_single_file_is_a_plugin_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "acme_single.py").write_text("def fail():\n    raise OSError(5, 'gone')\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("acme_single")
    failure = failure_of(caught(module.fail), "acme_single")
    assert str(failure) == f"OSError: [Errno 5] gone ({tmp_path / 'acme_single.py'}:2)"


def test_texts_of_any_content_can_be_sent_and_printed() -> None:
    error = ValueError("\udcff\x1b[31m" + "é" * 10 + "\n" + "line\n" * 10_000)
    failure = failure_of(error, "nowhere")
    assert failure.sentence == "ValueError: \\udcff\\x1b[31m" + "é" * 10
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(failure), type=Failure) == failure
    assert (failure.text.count("line\n"), "\x1b" in failure.text) == (10_000, False)
    short = shortened(failure.text)
    assert "lines are left out here" in short
    assert short.startswith("ValueError: \\udcff\\x1b[31m")
    assert short.endswith("line\n\n")
    assert len(short) < MOST_TEXT + 100
    assert len(failure_of(ValueError("x" * 10_000), "nowhere").sentence) <= MOST_SENTENCE + 3


def test_a_workers_own_last_line_is_in_the_sentence() -> None:
    text = (
        "Caught OSError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  x\nOSError: no"
    )
    assert failure_of(OSError(text), "x").sentence == (
        "OSError: Caught OSError in DataLoader worker process 0. OSError: no"
    )


def raised_by(script: str, folder: Path) -> Failure:
    path = folder / "client.py"
    path.write_text(script)
    return failure_of_script(caught(lambda: runpy.run_path(str(path), run_name="__main__")), str(folder), [__name__])


def test_a_script_sees_its_own_frames_only(tmp_path: Path) -> None:
    failure = raised_by("import json\ndef load():\n    json.loads('{')\nload()\n", tmp_path)
    assert failure.location == f"{tmp_path / 'client.py'}:3"
    lines = failure.text.splitlines()
    assert lines[:2] == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path / "client.py"}", line 4, in <module>',
    ]
    assert "json/decoder.py" in failure.text  # what its own code called stays
    assert not any(name in failure.text for name in ("runpy", "test_failure.py"))


def test_causes_contexts_and_groups_stay(tmp_path: Path) -> None:
    script = (
        "try:\n    try:\n        {}['a']\n    except KeyError as error:\n        raise OSError('b') from error\n"
        "except OSError:\n    raise ExceptionGroup('g', [ValueError('c'), TypeError('d')])\n"
    )
    failure = raised_by(script, tmp_path)
    for words in ("KeyError: 'a'", "direct cause", "OSError: b", "During handling", "ValueError: c", "TypeError: d"):
        assert failure.text.count(words) == 1, words
    assert "runpy" not in failure.text
    assert failure.location == f"{tmp_path / 'client.py'}:7"


@pytest.mark.parametrize("script", ["x = (\n", "def f():\nreturn 1\n"])
def test_a_script_that_is_no_python_has_no_frames_at_all(tmp_path: Path, script: str) -> None:
    failure = raised_by(script, tmp_path)
    assert failure.location.startswith(f"{tmp_path / 'client.py'}:")
    assert failure.text.startswith(f'  File "{tmp_path / "client.py"}", line ')
    assert failure.sentence.startswith(("SyntaxError: ", "IndentationError: "))


def test_a_refusal_of_fedtrack_ends_at_the_line_that_called_it(tmp_path: Path) -> None:
    failure = raised_by("from fedtrack import FedAvgJob\nFedAvgJob(name='j', n_clients=-1)\n", tmp_path)
    assert failure.sentence.startswith(ConfigError.__name__)
    assert failure.location == f"{tmp_path / 'client.py'}:2"
    assert "fedavg_job.py" not in failure.text


def test_an_error_without_any_frame_of_the_author_keeps_its_frames() -> None:
    failure = failure_of_script(caught(lambda: int("x")), "/nowhere", [__name__])
    assert "in <lambda>" in failure.text


def test_a_log_shows_the_traceback_only_where_it_is_wanted() -> None:
    record = logging.LogRecord("fedtrack", logging.WARNING, "", 0, "csv: it failed", (), None)
    record.traceback = "Traceback: ..."
    assert logging.Formatter().format(record) == "csv: it failed"
    assert TracebackFormatter().format(record) == "csv: it failed\nTraceback: ..."
