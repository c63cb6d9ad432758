"""Errors: what a user sees of one, and the code that a script which called us ends with."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from fedtrack import errors
from fedtrack.errors import (
    ConfigError,
    EngineTimeout,
    FedtrackError,
    JobError,
    JobRejected,
    Permanent,
    ReceiverError,
    SiteError,
    Transient,
    report_errors,
)

KINDS = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("n_clients is 0; give 1 or more."), 2),
        (JobError("too few"), 1),
        (JobRejected(["no."]), 2),
        (EngineTimeout("60 s"), 3),
    ],
)
def test_an_error_is_one_line_and_a_code(error: FedtrackError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, report_errors():
        raise error
    assert caught.value.code == code
    assert capsys.readouterr() == ("", f"Error: {error}\n")


def test_what_a_site_said_stands_above_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), report_errors():
        raise SiteError("site-1", "its script raised KeyError: 'x'", "Traceback ...\nKeyError: 'x'\n\n")
    expected = "Traceback ...\nKeyError: 'x'\n\nError: site-1: its script raised KeyError: 'x'\n"
    assert capsys.readouterr().err == expected


def test_ctrl_c_ends_as_shells_expect_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, report_errors():
        raise KeyboardInterrupt
    assert (caught.value.code, capsys.readouterr().err) == (130, "Interrupted.\n")


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), report_errors():
        _ = 1 / 0
    with pytest.raises(Transient), report_errors():  # nothing that a user should ever see
        raise Transient("the backend is down")


def test_nothing_is_said_where_nothing_went_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with report_errors():
        pass
    assert capsys.readouterr() == ("", "")


def test_the_code_is_that_of_the_process() -> None:
    code = (
        "from fedtrack.errors import *; import fedtrack.errors as e\nwith e.report_errors(): raise e.RunNotFound('x')"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "Error: x\n")


def test_the_tree_in_the_documentation_is_the_tree() -> None:
    rows = re.findall(r"^    ([│├└─ ]*)(\w+) +.*?(?:exit (\d))?$", errors.__doc__ or "", re.MULTILINE)
    parents: list[str] = []
    shown = {}
    for branch, name, code in rows:
        depth = len(branch) // 4
        parents[depth:] = [name]
        shown[name] = (parents[depth - 1] if depth else "", code)
    assert shown.keys() == KINDS.keys()
    for name, (parent, code) in shown.items():
        assert not parent or KINDS[name].__base__ is KINDS[parent]
        if code:
            assert getattr(KINDS[name], "exit_code", None) == int(code)


def test_what_receivers_raise_is_no_error_that_ends_a_command() -> None:
    assert not issubclass(ReceiverError, FedtrackError)
    assert Permanent("no").indices is None
    assert Permanent("no", iter([2, 0])).indices == (2, 0)


def test_a_refusal_says_everything_at_once() -> None:
    error = JobRejected(problem for problem in ("It has no sites.", "It has no script."))
    assert error.problems == ("It has no sites.", "It has no script.")
    assert str(error) == "The job was refused: It has no sites. It has no script."


def test_an_error_of_a_site_names_it_once_and_ends_no_sentence() -> None:
    error = SiteError("site-1", "site-1: the result lacks 'w'.")
    assert (str(error), error.message) == ("site-1: the result lacks 'w'", "the result lacks 'w'")
