"""Who may read the page."""

from __future__ import annotations

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from fedtrack_ui.guard import POLICY, Guard, host_name


def guarded(token: str = "", host: str = "127.0.0.1") -> TestClient:
    return TestClient(Guard(PlainTextResponse("the page"), token), base_url=f"http://{host}", follow_redirects=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8765", "localhost:1", "[::1]:8765"])
def test_without_a_token_this_machine_is_served_under_its_own_names(host: str) -> None:
    assert guarded().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["attacker.example", "127.0.0.1.attacker.example", "", "localhost.attacker.example:80"]
)
def test_without_a_token_no_other_name_is_served(host: str) -> None:
    assert guarded().get("/", headers={"host": host}).status_code == 421


def test_beyond_this_machine_a_token_is_needed_and_leaves_the_address() -> None:
    client = guarded("secret", "example.org")
    assert client.get("/").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    answer = client.get("/?token=secret&x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?x=1")
    assert "httponly" in answer.headers["set-cookie"].lower()
    assert "samesite=strict" in answer.headers["set-cookie"].lower()
    assert client.get("/").status_code == 200, "the cookie has it now"
    other = guarded("secret", "example.org")
    assert other.get("/", headers={"authorization": "Bearer secret"}).status_code == 200
    assert other.get("/", headers={"cookie": "fedtrack_ui=s\xe9cret".encode("latin-1")}).status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_but_reading_is_answered(method: str) -> None:
    assert guarded().request(method, "/").status_code == 405


def test_every_answer_says_what_a_browser_may_do() -> None:
    for answer in (guarded().get("/"), guarded("secret").get("/")):
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
    assert "unsafe" not in POLICY


def test_host_names() -> None:
    assert [host_name(host) for host in ("a", "a:1", "[::1]", "[::1]:1", "")] == ["a", "a", "::1", "::1", ""]
