"""MLflowReceiver against a real ``mlflow server`` on the loopback interface, which dies and comes back."""

from __future__ import annotations

import math
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fedtrack.errors import Permanent, Transient
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Artifact, Image, Metric, Param, Record, Tag, Text
from fedtrack_mlflow import MLflowReceiver
from fedtrack_mlflow.names import table_of
from fedtrack_mlflow.settings import calm

Opened = Callable[..., MLflowReceiver]
NewBatch = Callable[..., Batch]

# A server takes up to a minute to start, and this starts it twice: in one worker of those that run the tests.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("mlflow-server")]

T0 = 1_700_000_001_000_000_000


@pytest.fixture
def uri(mlflow_server: Any) -> str:
    return str(mlflow_server.uri)


def find_runs(uri: str, run_info: RunInfo) -> dict[str, Any]:
    from mlflow import MlflowClient

    with calm():
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(run_info.job_name)
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], f"tags.`fedtrack.run_id` = '{run_info.run_id}'")
    assert len(runs) == len({run.data.tags["fedtrack.site"] for run in runs}), "a site has two runs"
    return {run.data.tags["fedtrack.site"]: run for run in runs}


def history(uri: str, run: Any, key: str) -> list[Any]:
    from mlflow import MlflowClient

    with calm():
        return list(MlflowClient(uri).get_metric_history(run.info.run_id, key))


def test_all_kinds_arrive_and_delivering_again_changes_nothing(
    opened: Opened, new_batch: NewBatch, uri: str, run_info: RunInfo
) -> None:
    records: list[Record] = [Metric(T0 + 1000 * i, "loss", 0.5) for i in range(2500)]
    records += [Metric(T0, "acc@5%", math.nan, 3), Metric(T0, "inf", math.inf, 3), Param(T0, "lr", 0.1)]
    records += [Param(T0 + 1, "lr", 0.2), Tag(T0, "mlflow.user", "mallory"), Text(T0, "notes: é/#1?.txt", "hello")]
    records += [Image(T0, "digit", b"png", 1), Artifact(T0, "m.bin", b"x" * 100_000)]
    batch = new_batch(records)
    receiver = opened(tracking_uri=uri)
    receiver.receive(batch)
    receiver.receive(batch)
    opened(tracking_uri=uri).receive(batch)

    run = find_runs(uri, run_info)["site-1"]
    points = history(uri, run, "loss")
    assert [point.step for point in points] == [877_000 + i for i in range(2500)]
    assert math.isnan(history(uri, run, "acc_at_5_pct")[0].value)
    assert len(history(uri, run, "inf")) == 1
    assert sorted(run.data.params.values()) == ["0.1", "0.2"]
    assert table_of(run.data.tags) == {"acc_at_5_pct": "acc@5%", "_0x6d_lflow.user": "mlflow.user"}
    assert run.data.tags["mlflow.user"] != "mallory"
    assert artifact(uri, run, "notes_0x3a_ é/_0x23_1_0x3f_.txt") == b"hello"
    assert artifact(uri, run, "images/digit/1.png") == b"png"
    assert artifact(uri, run, "m.bin") == b"x" * 100_000


def artifact(uri: str, run: Any, path: str) -> bytes:
    from urllib.parse import quote

    with urllib.request.urlopen(f"{uri}/get-artifact?run_uuid={run.info.run_id}&path={quote(path)}") as answer:
        return bytes(answer.read())


def test_a_server_that_is_killed_and_comes_back_gets_everything_once(
    opened: Opened, new_batch: NewBatch, mlflow_server: Any, run_info: RunInfo, capfd: pytest.CaptureFixture[str]
) -> None:
    batches = [
        new_batch([Metric(T0 + i, "loss", float(i), i) for i in range(n, n + 300)], site=site, first=n)
        for n in range(0, 900, 300)
        for site in ("site-1", "site-2")
    ]
    receiver = opened(tracking_uri=mlflow_server.uri)
    receiver.receive(batches[0])
    mlflow_server.kill()
    for batch in (batches[1], batches[2]):  # a site that has no run yet, and one that has
        begun = time.monotonic()
        with pytest.raises(Transient, match=str(mlflow_server.port)):
            receiver.receive(batch)
        assert time.monotonic() - begun < 20
    mlflow_server.start()
    for batch in batches:
        receiver.receive(batch)
    receiver.close("completed")
    assert capfd.readouterr().out == "", "mlflow prints a link for each run that ends"
    runs = find_runs(mlflow_server.uri, run_info)
    assert runs.keys() == {"server", "site-1", "site-2"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for site in ("site-1", "site-2"):
        assert runs[site].data.tags["mlflow.parentRunId"] == runs["server"].info.run_id
        assert [p.step for p in history(mlflow_server.uri, runs[site], "loss")] == list(range(900))


def test_long_names_and_values_never_make_a_request_too_large(
    opened: Opened, new_batch: NewBatch, uri: str, run_info: RunInfo
) -> None:
    keys = [f"{i:04}" + "é" * 110 for i in range(1000)]  # 670 kB of names as UTF-8-escaped JSON
    records: list[Record] = [Metric(T0, key, 1.0, 1) for key in keys]
    records += [Metric(T0, "ü" * 100 + key, 1.0, 1) for key in keys]
    records += [Param(T0, f"p{i}", "名" * 6000) for i in range(60)]  # 2 MB
    opened(tracking_uri=uri).receive(new_batch(records))
    run = find_runs(uri, run_info)["site-1"]
    assert len(run.data.metrics) == 2000
    assert len(run.data.params) == 60


class Proxy:
    """Passes requests on to a server and answers the next ones with a status, before or after passing them on."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.answers: dict[bytes, bytes] = {}
        self.swallowed: dict[bytes, bytes] = {}  # not passed on at all
        self.lines: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                self._exchange(client)

    def _exchange(self, client: socket.socket) -> None:
        request = _message(client)
        line = request.split(b"\r\n", 1)[0]
        self.lines.append(line)
        for part, instead in self.swallowed.items():
            if part in line:
                client.sendall(instead)
                return
        request = request.replace(b"Connection: keep-alive", b"Connection: close")
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            server.sendall(request)
            answer = b"".join(iter(lambda: server.recv(65536), b""))
        for part, instead in self.answers.items():
            if part in line:
                answer = instead  # the server has done it all the same: what it said is lost
        client.sendall(answer)


def _message(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def proxy(mlflow_server: Any) -> Iterator[Proxy]:
    proxy = Proxy(mlflow_server.port)
    yield proxy
    proxy.close()


def status(code: int, body: bytes = b"no") -> bytes:
    return b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (code, len(body), body)


@pytest.mark.parametrize("step", [7, None])
@pytest.mark.parametrize("what", [b"log-batch", b" /"], ids=["log-batch", "everything"])
def test_points_that_a_proxy_swallows_are_not_taken(
    opened: Opened, new_batch: NewBatch, proxy: Proxy, run_info: RunInfo, step: int | None, what: bytes
) -> None:
    """The metric has earlier points, and the first answers were right: neither is a proof for the next points."""
    receiver = opened(tracking_uri=proxy.uri)
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, step and step - 1)]))
    batch = new_batch([Metric(T0 + 10**9 + i * 10**6, "loss", float(i), step and step + i) for i in range(20)], first=1)
    proxy.swallowed = {what: status(200, b"{}")}
    for _ in range(2):
        with pytest.raises(Transient):
            receiver.receive(batch)
    proxy.swallowed = {}
    receiver.receive(batch)
    assert len(history(proxy.uri, find_runs(proxy.uri, run_info)["site-1"], "loss")) == 21
    receiver.receive(batch)
    assert receiver.count(["site-1", "nobody"]) == {"site-1": 21, "nobody": 0}


def test_the_reason_names_the_point_that_is_missing(opened: Opened, new_batch: NewBatch, proxy: Proxy) -> None:
    receiver = opened(tracking_uri=proxy.uri)
    proxy.swallowed = {b"log-batch": status(200, b"{}")}
    with pytest.raises(Transient, match="it took 1 points, and does not have 'loss' at step 3; is there a proxy"):
        receiver.receive(new_batch([Metric(T0, "loss", 1.0, 3)]))


@pytest.mark.parametrize(
    "answer", [status(404), status(200, b"{}"), status(200, b"<html>"), status(200, b'{"metrics": 1}')]
)
def test_a_server_without_the_short_question_is_asked_for_the_history(
    opened: Opened, new_batch: NewBatch, proxy: Proxy, answer: bytes
) -> None:
    receiver = opened(tracking_uri=proxy.uri)
    proxy.swallowed = {b"get-history-bulk-interval": answer}
    receiver.receive(new_batch([Metric(T0, "loss", value, 3) for value in (1.0, math.nan, -math.inf)]))
    assert any(b"metrics/get-history?" in line for line in proxy.lines)


def test_one_short_question_confirms_a_call(opened: Opened, new_batch: NewBatch, proxy: Proxy) -> None:
    receiver = opened(tracking_uri=proxy.uri)
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))
    proxy.lines.clear()
    receiver.receive(new_batch([Metric(T0 + i, f"m{i}", 1.0, i) for i in range(500)], first=1))
    asked = [line.split()[1].partition(b"?")[0].rpartition(b"/")[2] for line in proxy.lines]
    assert asked == [b"log-batch", b"get-history-bulk-interval"]


def test_a_count_over_http_tells_how_far_it_is(opened: Opened, new_batch: NewBatch, uri: str) -> None:
    receiver = opened(tracking_uri=uri)
    receiver.receive(new_batch([Metric(T0 + i, f"m{i % 40}", 1.0, i) for i in range(100)]))
    told: list[tuple[int, int]] = []
    receiver.counting = lambda done, total: told.append((done, total))
    assert receiver.count(["site-1"]) == {"site-1": 100}
    assert told == [(8, 40), (16, 40), (24, 40), (32, 40), (40, 40)]


def test_a_create_whose_answer_is_lost_makes_no_second_run(
    opened: Opened, new_batch: NewBatch, proxy: Proxy, run_info: RunInfo
) -> None:
    receiver = opened(tracking_uri=proxy.uri)
    batch = new_batch([Metric(T0, "loss", 1.0, 1)])
    proxy.answers = {b"runs/create": b""}
    for _ in range(2):
        with pytest.raises(Transient):
            receiver.receive(batch)
        proxy.answers = {b"log-batch": b""}
    proxy.answers = {}
    receiver.receive(batch)
    runs = find_runs(proxy.uri, run_info)
    assert runs.keys() == {"server", "site-1"}
    assert len(history(proxy.uri, runs["site-1"], "loss")) == 1


@pytest.mark.parametrize("code", [401, 403, 404, 408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_transient_and_tried_once(
    opened: Opened, new_batch: NewBatch, proxy: Proxy, code: int
) -> None:
    receiver = opened(tracking_uri=proxy.uri)
    proxy.answers = {b"log-batch": status(code)}
    begun = time.monotonic()
    with pytest.raises(Transient):
        receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))
    assert time.monotonic() - begun < 15
    proxy.answers = {}
    receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))


@pytest.mark.parametrize("code", [400, 413])
def test_what_the_server_refuses_is_permanent(opened: Opened, new_batch: NewBatch, proxy: Proxy, code: int) -> None:
    receiver = opened(tracking_uri=proxy.uri)
    proxy.answers = {b"log-batch": status(code)}
    with pytest.raises(Permanent):
        receiver.receive(new_batch([Metric(T0, "loss", 1.0, 1)]))
