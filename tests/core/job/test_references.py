"""References: literals that are secrets are refused wherever they stand, and resolved values are hidden."""

from __future__ import annotations

import pytest

from fedtrack import redaction
from fedtrack.errors import ConfigError
from fedtrack.job.references import names_in, refuse_secrets, resolve_references
from fedtrack.redaction import Secret, redact

pytestmark = pytest.mark.threat("T8")


@pytest.fixture(autouse=True)
def hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_HIDDEN", redaction._Hidden())
    monkeypatch.setattr(redaction, "_watch_process", lambda: None)


@pytest.mark.parametrize(
    "value",
    [
        "http://host/?token=hunter2-x",
        "http://host/a?page=1&api_key=hunter2-x",
        "http://host/#access_token=hunter2-x",
        "wss://host/?a=1;password=hunter2-x",
        # A reference beside it excuses nothing.
        "http://me:hunter2-x@host/${ENV:PATH_}",
        "http://host/?token=hunter2-x&user=${ENV:USER_}",
        ["x", {"deep": ("http://host/?client_secret=hunter2-x",)}],
    ],
)
def test_a_secret_in_an_address_is_refused(value: object) -> None:
    for check in (refuse_secrets, lambda *args: resolve_references(args[0], {"USER_": "u", "PATH_": "p"}, args[1])):
        with pytest.raises(ConfigError, match=r"^args\.tracking_uri\S* holds a secret") as caught:
            check({"tracking_uri": value}, "args")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["http://host/?token=${ENV:T}", "http://me:${ENV:T}@host", "http://h/?page=2&sort=token", "what? token=5", "a=b"],
)
def test_what_is_no_secret_may_stand(value: str) -> None:
    refuse_secrets({"tracking_uri": value}, "args")


def test_what_is_resolved_is_hidden_from_then_on() -> None:
    found = resolve_references({"uri": "http://me:${ENV:PW}@host", "n": 3}, {"PW": "canary-4711"}, "args")
    assert found == {"uri": "http://me:canary-4711@host", "n": 3}
    assert isinstance(found["uri"], Secret)
    assert repr(found) == "{'uri': 'http://me:${ENV:PW}@host', 'n': 3}"
    assert redact("login of canary-4711 failed") == "login of ${ENV:PW} failed"


def test_the_password_within_a_whole_address_is_hidden_too() -> None:
    resolve_references("${ENV:URI}", {"URI": "postgresql://me:canary-4711@host/db"}, "args")
    assert redact("password canary-4711 refused") == "password ${ENV:URI} refused"


def test_names_are_found_with_their_places() -> None:
    assert names_in({"a": ["${ENV:X}", {"b": "${ENV:Y}${ENV:X}"}]}) == {"X": ".a[0]", "Y": ".a[1].b"}


def test_a_long_text_is_read_at_once() -> None:
    for text in ("a" * 100_000, "://" * 40_000, "?" * 100_000, "${ENV:" * 20_000, "://" + ":" * 100_000, "&=" * 50_000):
        resolve_references({"text": text}, {}, "args")
