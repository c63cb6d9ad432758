"""CollectorApp: who may speak for whom: every method, path and token."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from fedtrack.collector import app as module
from fedtrack.collector.app import CollectorApp
from fedtrack.collector.tokens import TOKENS_FILE, Tokens
from fedtrack.transport.https import CONTENT_TYPE, SITE_HEADER
from fedtrack.transport.quota import OVER_QUOTA
from fedtrack.transport.wire import Ack, encode


class Recorded:
    """Runs that write down what they are asked."""

    def __init__(self) -> None:
        self.full = ""
        self.asked: list[tuple[str, str, bytes]] = []

    def handle(self, run: str, site: str, data: bytes) -> bytes:
        self.asked.append((run, site, data))
        return b"answer"

    def metrics(self) -> str:
        return "fedtrack_full 0\n"


@pytest.fixture
def runs() -> Recorded:
    return Recorded()


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path)


@pytest.fixture
def client(tokens: Tokens, runs: Recorded) -> TestClient:
    return TestClient(CollectorApp(tokens, runs).asgi(), raise_server_exceptions=False)


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def test_a_message_is_of_the_site_of_its_token(client: TestClient, tokens: Tokens, runs: Recorded) -> None:
    answer = client.post("/v1/runs/study-7/messages", content=b"hospital-b", headers=bearer(tokens.add("hospital-a")))
    assert (answer.status_code, answer.content) == (200, b"answer")
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.headers[SITE_HEADER] == "hospital-a"
    assert runs.asked == [("study-7", "hospital-a", b"hospital-b")]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/runs/study-7/sites/hospital-b/messages", 200),
        ("/v1/runs/study-7/sites/clinic-b/messages", 403),
        ("/v1/runs/study-7/messages", 403),
        ("/v1/runs/other/sites/hospital-b/messages", 403),
        ("/v1/runs/study-7/sites/server/messages", 404),
        ("/v1/runs/study-7/sites/hospital-../messages", 404),
    ],
)
def test_a_pattern_speaks_for_its_sites(
    client: TestClient, tokens: Tokens, runs: Recorded, path: str, code: int
) -> None:
    token = tokens.add("hospital-*", runs="study-*")
    assert client.post(path, content=b"x", headers=bearer(token)).status_code == code
    assert len(runs.asked) == (code == 200)


def test_one_sites_token_names_no_other(client: TestClient, tokens: Tokens, runs: Recorded) -> None:
    headers = bearer(tokens.add("hospital-a"))
    assert client.post("/v1/runs/r/sites/hospital-a/messages", content=b"x", headers=headers).status_code == 200
    assert client.post("/v1/runs/r/sites/hospital-b/messages", content=b"x", headers=headers).status_code == 403
    assert [site for _, site, _ in runs.asked] == ["hospital-a"]


@pytest.mark.parametrize("path", ["/v1/runs/r/messages", "/v1/runs/r/sites/a/messages", "/metrics", "/healthz", "/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("token", ["none", "wrong", "revoked", "basic"])
def test_without_a_token_nothing_is_told(
    client: TestClient, tokens: Tokens, runs: Recorded, path: str, method: str, token: str
) -> None:
    revoked = tokens.add("a")
    tokens.revoke("a")
    valid = tokens.add("a")
    headers = {
        "none": {},
        "wrong": bearer(valid[:-3] + "xyz"),
        "revoked": bearer(revoked),
        "basic": {"authorization": f"Basic {valid}"},
    }[token]
    answer = client.request(method, path, headers=headers)
    assert answer.status_code in ((200,) if path == "/healthz" and method in ("GET", "HEAD") else (401, 404, 405))
    assert not runs.asked
    assert "fedtrack_full" not in answer.text
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/runs/r/messages", "/metrics", "/healthz"])
def test_a_browsers_page_gets_nothing(client: TestClient, tokens: Tokens, runs: Recorded, path: str) -> None:
    headers = bearer(tokens.add("a")) | {"origin": "https://example.org"}
    for method in ("GET", "POST"):
        assert client.request(method, path, headers=headers).status_code in (403, 405)
    assert not runs.asked


@pytest.mark.parametrize(
    ("host", "code"),
    [("127.0.0.1:8443", 200), ("localhost", 200), ("[::1]:8443", 200), ("evil.example.org", 421), ("", 421)],
)
def test_another_name_is_refused_where_no_certificate_does_it(
    tokens: Tokens, runs: Recorded, host: str, code: int
) -> None:
    hosts = frozenset(("localhost", "127.0.0.1", "::1"))
    client = TestClient(CollectorApp(tokens, runs, hosts).asgi())
    headers = bearer(tokens.add("a")) | {"host": host}
    assert client.post("/v1/runs/r/messages", content=b"x", headers=headers).status_code == code


def test_behind_a_proxy_others_are_refused(tokens: Tokens, runs: Recorded) -> None:
    headers = bearer(tokens.add("a")) | {"x-forwarded-for": "10.0.0.7"}
    app = CollectorApp(tokens, runs, proxy="10.0.0.7").asgi()
    for address, code in (("10.0.0.7", 200), ("10.0.0.8", 403)):
        client = TestClient(app, client=(address, 5))
        assert client.post("/v1/runs/r/messages", content=b"x", headers=headers).status_code == code


def test_a_large_body_is_refused_before_it_is_read(client: TestClient, tokens: Tokens, runs: Recorded) -> None:
    headers = bearer(tokens.add("a"))
    large = b"x" * (module.MAX_BODY + 1)
    assert client.post("/v1/runs/r/messages", content=large, headers=headers).status_code == 413
    parts = (large[i : i + 100_000] for i in range(0, len(large), 100_000))
    assert client.post("/v1/runs/r/messages", content=parts, headers=headers).status_code == 413
    assert not runs.asked


def test_a_full_collector_says_so(client: TestClient, tokens: Tokens, runs: Recorded) -> None:
    runs.full = "the collector's disk has 3 bytes left"
    answer = client.post("/v1/runs/r/messages", content=b"x", headers=bearer(tokens.add("a")))
    assert (answer.status_code, answer.headers["retry-after"]) == (507, "30")
    assert client.get("/healthz").status_code == 507
    assert not runs.asked


def test_metrics_have_a_token_of_their_own(client: TestClient, tokens: Tokens) -> None:
    assert client.get("/metrics", headers=bearer(tokens.add("a"))).status_code == 403
    answer = client.get("/metrics", headers=bearer(tokens.add("prometheus", reads=True)))
    assert (answer.status_code, answer.text) == (200, "fedtrack_full 0\n")


def test_damaged_tokens_let_nobody_in(client: TestClient, tokens: Tokens, tmp_path: Path) -> None:
    headers = bearer(tokens.add("a"))
    (tmp_path / TOKENS_FILE).write_text("[")
    answer = client.post("/v1/runs/r/messages", content=b"x", headers=headers)
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text


def test_a_site_over_its_quota_is_told_when_to_come_again(
    client: TestClient, tokens: Tokens, runs: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = encode(Ack("busy", retry_after=2.4, reason=f"hospital-a sends too much; {OVER_QUOTA}"))
    monkeypatch.setattr(runs, "handle", lambda run, site, data: busy)
    answer = client.post("/v1/runs/study-7/messages", content=b"x", headers=bearer(tokens.add("hospital-a")))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
    assert OVER_QUOTA in answer.text
    for other in (Ack("busy", retry_after=1.0, reason="full"), Ack("stored", reason=OVER_QUOTA)):
        monkeypatch.setattr(runs, "handle", lambda run, site, data, other=other: encode(other))
        assert client.post("/v1/runs/study-7/messages", headers=bearer(tokens.add("b"))).status_code == 200
