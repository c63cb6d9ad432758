"""Backends: each is asked with the credentials of the environment, which no text shows."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fedtrack.cli.diagnosis.backends import backends
from fedtrack.cli.diagnosis.finding import Finding, Level

SECRET = "s3cret-Pa55word"  # noqa: S105


class Backend(ThreadingHTTPServer):
    """Answers everything in one way, and keeps what it was asked.

    Attributes:
        status: The status of each answer.
        body: The body of each answer.
        date: The Date header; None for the right one.
        asked: The path and the Authorization header of each request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body, self.date = 200, b"{}", None
        self.asked: list[tuple[str, str]] = []

    status: int
    body: bytes
    date: str | None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Backend

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("authorization", "")))
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response_only(self.server.status)
        self.send_header("date", self.server.date or self.date_time_string())
        self.send_header("location", f"{self.server.url}/elsewhere")
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[Backend]:
    with Backend() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def settings(kind: str, url: str) -> dict[str, str]:
    return {
        "mlflow": {"MLFLOW_TRACKING_URI": url.replace("//", f"//ann:{SECRET}@")},
        "mlflow-token": {"MLFLOW_TRACKING_URI": url, "MLFLOW_TRACKING_TOKEN": SECRET},
        "wandb": {"WANDB_BASE_URL": url, "WANDB_API_KEY": SECRET},
        "collector": {"FEDTRACK_URL": url, "FEDTRACK_TOKEN": SECRET},
    }[kind]


def used(env: dict[str, str]) -> list[Finding]:
    return [one for one in backends(env) if "nothing was asked" not in one.found]


KINDS = ["mlflow", "mlflow-token", "wandb", "collector"]


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_answers_is_right_and_got_the_credentials(backend: Backend, kind: str) -> None:
    (found,) = used(settings(kind, backend.url))
    assert (found.level, found.remedy) == (Level.OK, "")
    (path, header) = backend.asked[0]
    user = {"mlflow": "ann", "wandb": "api"}.get(kind)
    said = f"Basic {base64.b64encode(f'{user}:{SECRET}'.encode()).decode()}" if user else f"Bearer {SECRET}"
    assert header == said
    assert path == {"wandb": "/graphql", "collector": "/healthz"}.get(kind, path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refuses the credentials"), (503, "answers 503: busy"), (302, "redirect"), (0, "no answer")],
)
def test_one_that_does_not_serve_needs_action_and_no_secret_is_shown(
    backend: Backend, kind: str, status: int, said: str
) -> None:
    backend.status, backend.body = status, f"busy {SECRET}".encode()
    url = backend.url if status else "http://127.0.0.1:1"
    (found,) = used(settings(kind, url))
    assert found.level is Level.ACTION
    assert said in found.found
    assert found.remedy
    assert SECRET not in "".join(found)
    assert not any(path == "/elsewhere" for path, _ in backend.asked)


def test_a_key_that_the_server_does_not_know_needs_action(backend: Backend) -> None:
    backend.body = b'{"data": {"viewer": null}}'
    (found,) = used(settings("wandb", backend.url))
    assert "refuses the credentials" in found.found


@pytest.mark.parametrize("kind", KINDS)
def test_a_clock_that_is_far_from_this_one_needs_action(backend: Backend, kind: str) -> None:
    backend.date = "Thu, 01 Jan 1998 00:00:00 GMT"
    first, second = used(settings(kind, backend.url))
    assert (first.level, second.name, second.level) == (Level.OK, "clock", Level.ACTION)
    assert "behind this one" in second.found


@pytest.mark.parametrize(
    ("env", "level"),
    [
        ({}, None),
        ({"MLFLOW_TRACKING_URI": "sqlite:///x.db"}, None),
        ({"MLFLOW_TRACKING_URI": "http://[::1"}, Level.ACTION),
        ({"MLFLOW_TRACKING_URI": "http://"}, Level.ACTION),
        ({"MLFLOW_TRACKING_URI": "http://h", "MLFLOW_TRACKING_SERVER_CERT_PATH": "/gone"}, Level.ACTION),
        ({"WANDB_API_KEY": "k" * 40, "WANDB_MODE": "offline"}, None),
        ({"WANDB_BASE_URL": "my-server"}, Level.ACTION),
        ({"FEDTRACK_URL": "http://far.example"}, Level.ACTION),  # the token would cross the network in the clear
        ({"FEDTRACK_URL": "ftp://x"}, Level.ACTION),
    ],
)
def test_settings_that_name_no_server_are_told_without_asking(env: dict[str, str], level: Level | None) -> None:
    assert [one.level for one in used(env)] == ([level] if level else [])


def test_what_lacks_only_credentials_is_a_note(backend: Backend, tmp_path: Path) -> None:
    assert [one.level for one in used({"WANDB_BASE_URL": backend.url})] == [Level.NOTE]
    assert [one.level for one in used({"FEDTRACK_URL": backend.url})] == [Level.OK, Level.NOTE]
    assert [one.level for one in used({"FEDTRACK_URL": str(tmp_path)})] == [Level.OK]
