"""HttpsLine: only the acknowledgement of a collector counts as one; everything else is sent again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from time import time

import msgspec
import pytest

from fedtrack.errors import ConfigError, TransportError
from fedtrack.transport.address import Address
from fedtrack.transport.https import CONTENT_TYPE, SITE_HEADER, HttpsLine, retry_after, trusted
from fedtrack.transport.shipper import TooLargeError
from fedtrack.transport.wire import Ack, FromSite, Hello, encode

TOKEN = "ft_1_secret"  # noqa: S105

pytest.importorskip("httpx2")


class Answering:
    """A server on the way, which answers as it is told."""

    def __init__(self) -> None:
        self.code, self.body = 200, encode(Ack("stored", 7))
        self.headers: dict[str, str] = {"content-type": CONTENT_TYPE}
        self.paths: list[str] = []
        self.seen: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                outer.paths.append(self.path)
                outer.seen.append(str(self.headers))
                self.send_response(outer.code)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Answering]:
    found = Answering()
    yield found
    found.close()


@pytest.fixture
def call(server: Answering) -> Iterator[Callable[[FromSite], Ack]]:
    line = HttpsLine(Address.of(server.url), TOKEN, timeout=10)
    yield line.call_of("study-7", "hospital-a")
    line.close()


def test_an_acknowledgement_comes_back(server: Answering, call: Callable[[FromSite], Ack]) -> None:
    assert call(Hello("study-7", 2)) == Ack("stored", 7)
    assert server.paths == ["/v1/runs/study-7/messages"]
    assert "hospital-a" not in server.seen[0]
    assert f"Bearer {TOKEN}" in server.seen[0]


def test_a_token_for_many_sites_names_one(server: Answering) -> None:
    line = HttpsLine(Address.of(server.url), "ftn_1_secret", timeout=10)
    line.call_of("study-7", "hospital-a")(Hello("study-7", 2))
    line.close()
    assert server.paths == ["/v1/runs/study-7/sites/hospital-a/messages"]


@pytest.mark.parametrize("body", [b"{}", b"", b"<html>log in</html>", b"\x00"])
def test_a_proxy_that_answers_for_the_collector_acknowledges_nothing(
    server: Answering, call: Callable[[FromSite], Ack], body: bytes
) -> None:
    server.body = body
    server.headers = {"content-type": "application/json"}
    with pytest.raises(TransportError, match="not as a collector"):
        call(Hello("study-7"))
    server.headers = {"content-type": CONTENT_TYPE}
    with pytest.raises(msgspec.MsgspecError):
        call(Hello("study-7"))


@pytest.mark.parametrize("code", [301, 302, 307])
@pytest.mark.threat("T12")
def test_a_redirection_is_not_followed(server: Answering, call: Callable[[FromSite], Ack], code: int) -> None:
    server.code, server.headers = code, {"location": "https://elsewhere.example.org/"}
    with pytest.raises(TransportError, match=str(code)):
        call(Hello("study-7"))


@pytest.mark.parametrize("code", [401, 403, 404, 421, 429, 500, 502, 503, 507])
def test_a_refusal_keeps_the_records(server: Answering, call: Callable[[FromSite], Ack], code: int) -> None:
    server.code, server.body, server.headers = code, b"because\n", {"content-type": "text/plain", "retry-after": "9"}
    ack = call(Hello("study-7"))
    assert (ack.verdict, ack.reason) == ("busy", f"{code}: because")
    assert ack.retry_after == (30.0 if code in (401, 403, 404, 421) else 9.0)


def test_a_message_that_is_too_large_is_told_apart(server: Answering, call: Callable[[FromSite], Ack]) -> None:
    server.code = 413
    with pytest.raises(TooLargeError):
        call(Hello("study-7"))


@pytest.mark.threat("T1")
def test_a_token_of_another_site_is_noticed(server: Answering, call: Callable[[FromSite], Ack]) -> None:
    server.headers[SITE_HEADER] = "hospital-b"
    ack = call(Hello("study-7"))
    assert ack.verdict == "busy"
    assert "'hospital-b', not of 'hospital-a'" in ack.reason


def test_the_clocks_are_compared(server: Answering) -> None:
    server.headers["date"] = formatdate(time() + 3600, usegmt=True)
    line = HttpsLine(Address.of(server.url), TOKEN, timeout=10)
    line.call_of("study-7", "hospital-a")(Hello("study-7"))
    line.close()
    assert line.skew == pytest.approx(3600, abs=60) or line.skew == pytest.approx(0, abs=60)  # the server has its own


def test_nobody_listens(server: Answering) -> None:
    line = HttpsLine(Address.of("http://127.0.0.1:9"), TOKEN, timeout=5)
    with pytest.raises(TransportError, match=r"http://127\.0\.0\.1:9: ") as caught:
        line.call_of("study-7", "hospital-a")(Hello("study-7"))
    line.close()
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7), ("0", 0), ("-3", 0), ("", 0), ("soon", 0), ("1e9", 3600), ("nan", 0)]
)
def test_retry_after_in_seconds(text: str, seconds: float) -> None:
    assert retry_after({"retry-after": text}) == seconds


def test_retry_after_as_a_date() -> None:
    assert retry_after({"retry-after": formatdate(time() + 20, usegmt=True)}) == pytest.approx(20, abs=3)
    assert retry_after({"retry-after": formatdate(time() - 20, usegmt=True)}) == 0
    assert retry_after({}) == 0


def test_authorities_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("FEDTRACK_CA_BUNDLE", f"{tmp_path}/nowhere.pem")
    with pytest.raises(ConfigError, match=r"nowhere\.pem.*FEDTRACK_CA_BUNDLE"):
        trusted()
