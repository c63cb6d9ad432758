"""Redaction: a hidden value is in no text that leaves the process, and texts without it stay as they are."""

from __future__ import annotations

import base64
import copy
import html
import io
import json
import logging
import pickle
import subprocess
import sys
from urllib.parse import quote, quote_plus

import msgspec
import pytest

from fedtrack import redaction
from fedtrack.errors import ConfigError, Permanent, Transient
from fedtrack.failure import failure_of
from fedtrack.output import tolerant
from fedtrack.redaction import Secret, hide, hide_parts, redact

VALUE = "p@ss'w/rd \"9f3c&+é"
NAME = "${ENV:PW}"

pytestmark = pytest.mark.threat("T8")


@pytest.fixture(autouse=True)
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_HIDDEN", redaction._Hidden())
    monkeypatch.setattr(redaction, "_watch_process", lambda: None)
    hide(VALUE, NAME)


@pytest.mark.parametrize(
    "write",
    [
        str,
        repr,
        json.dumps,
        lambda text: json.dumps(text, ensure_ascii=False),
        quote,
        lambda text: quote(text, safe=""),
        quote_plus,
        html.escape,
        str.upper,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: f"x{text}x",
    ],
)
def test_it_is_replaced_however_it_is_written(write: object) -> None:
    text = f"cannot log in with {write(VALUE)}: refused"  # type: ignore[operator]
    assert NAME in redact(text)
    assert "9f3c" not in redact(text).lower()
    assert redact(text).endswith("refused")


@pytest.mark.parametrize("value", ["1", "abc", "true", "None", "5000", "localhost", "", "   "])
def test_a_short_or_common_value_leaves_texts_as_they_are(value: str) -> None:
    hide(value, "${ENV:X}")
    text = f"attempt {value} of 10 took 1 s at localhost:5000; true or None, abc"
    assert redact(text) == text


def test_a_value_of_a_few_characters_is_hidden_as_a_word() -> None:
    hide("pw77", NAME)
    assert redact("(pw77) 'pw77'; pw777 xpw77") == f"({NAME}) '{NAME}'; pw777 xpw77"


def test_each_line_of_a_key_is_hidden() -> None:
    hide("-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n", NAME)
    assert redact("bad line: 'kqhkiG9w0BAQEF'") == f"bad line: '{NAME}'"


def test_a_value_within_another_one_does_not_show_the_rest() -> None:
    hide("abcdefgh", "${ENV:A}")
    hide("abcdefgh-and-more", "${ENV:B}")
    assert redact("abcdefgh-and-more, abcdefgh") == "${ENV:B}, ${ENV:A}"


def test_parts_of_an_address_are_hidden_by_themselves() -> None:
    hide_parts("https://me:s3cr%2Ft-7@host/x?api_key=k-4711-k&page=22222222222", NAME)
    header = base64.b64encode(b"me:s3cr/t-7").decode()
    text = redact(f"Basic {header}; s3cr%2Ft-7; s3cr/t-7; k-4711-k; 22222222222; host")
    assert text == f"Basic {NAME}{'=' * header.count('=')}; {NAME}; {NAME}; {NAME}; 22222222222; host"


def test_the_password_of_an_address_is_never_shown_whoever_wrote_it() -> None:
    assert (
        redact("GET http://me:x@host:1/a and http://host/a:b@c") == "GET http://me:***@host:1/a and http://host/a:b@c"
    )


def test_errors_are_shown_without_it() -> None:
    for kind in (ConfigError, Transient, Permanent):
        assert str(kind(f"said {VALUE}")) == f"said {NAME}"
    try:
        raise ValueError(f"said {VALUE}") from KeyError(VALUE)
    except ValueError as error:
        found = failure_of(error, __name__)
    assert "9f3c" not in found.sentence + found.text
    assert found.text.count(NAME) == 2


def test_a_value_is_hidden_before_a_text_is_shortened() -> None:
    error = ValueError("x" * 285 + VALUE)
    assert "p@ss" not in failure_of(error, __name__).sentence


def test_output_is_printed_without_it() -> None:
    stream = io.StringIO()
    print(f"said {VALUE}", file=tolerant(stream))
    assert stream.getvalue() == f"said {NAME}\n"


def test_what_is_logged_is_logged_without_it(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("some.sdk")
    try:
        raise RuntimeError(VALUE)
    except RuntimeError as error:
        record = log.makeRecord("some.sdk", 40, "f", 1, "%s: %r", (VALUE, error), (type(error), error, None))
    text = logging.Formatter().format(redaction._redacted_record(record))
    assert "9f3c" not in text
    assert text.count(NAME) == 3
    wrong = log.makeRecord("some.sdk", 40, "f", 1, "%d", ("x",), None)
    assert redaction._redacted_record(wrong) is wrong


def test_a_process_that_hides_a_value_shows_no_traceback_with_it() -> None:
    # A process of its own: what is changed is its hooks and its log records.
    code = """
import logging, threading
from fedtrack.redaction import hide
logging.basicConfig()
hide("canary-12345678", "${ENV:C}")
logging.getLogger("urllib3").error("GET %s", "http://x/?t=canary-12345678")
def fail(): raise KeyError("canary-12345678")
thread = threading.Thread(target=fail); thread.start(); thread.join()
class Bad:
    def __del__(self): fail()
Bad()
fail()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "canary" not in done.stdout + done.stderr
    assert done.stderr.count("${ENV:C}") == 4


def test_a_secret_is_a_text_to_its_user_and_a_reference_to_others() -> None:
    secret = Secret(VALUE, NAME)
    assert secret == VALUE and f"{secret}" == VALUE  # noqa: PT018
    assert repr([secret]) == f"['{NAME}']"
    assert copy.deepcopy({"a": secret}) == {"a": VALUE}
    with pytest.raises(TypeError, match=r"\$\{ENV:PW\} is a secret"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        msgspec.json.encode(secret)


def test_it_is_linear_in_any_text() -> None:
    # Each of these takes minutes if a search begins again at each character.
    for text in ("http://" + "a" * 200_000 + ":", "://" * 70_000 + "@", "p@ss" * 50_000 + "@://"):
        redact(text)
