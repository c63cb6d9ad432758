"""SiteBackend over a real socket: what a script is given, what the server hears, and what is refused by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from fedtrack.client import FLModel
from fedtrack.errors import ConfigError, ModelError
from fedtrack.tracking.writer import Writer, bind
from fedtrack_local.models.handed_model import take
from fedtrack_local.models.params import save_params
from fedtrack_local.processes.joining import Join, Joined
from fedtrack_local.processes.messages import (
    EndRun,
    SendResult,
    SendTask,
    SiteLeft,
    SkipTask,
    decode_from_site,
    encode,
)
from fedtrack_local.processes.parcels import ParcelConnection
from fedtrack_local.scripts.site_backend import SiteBackend, plain_metrics
from fedtrack_local.scripts.site_channel import SiteChannel
from support.site_processes import site_spec


class Server:
    """The other end of the channel."""

    def __init__(self, channel: ParcelConnection, exchange: Path) -> None:
        self.channel, self.exchange = channel, exchange
        self.model: dict[str, Any] | None = None
        channel.send_bytes(encode(Joined()))  # the answer to Join, before it is asked for

    def ask(self, task_id: int = 1, name: str = "train", *, params: bool = False, optional: bool = False) -> None:
        if params:
            save_params({"w": np.arange(3.0)}, self.exchange / f"task-{task_id}.safetensors")
        self.channel.send_bytes(encode(SendTask(task_id, name, params, 0, 4, 9, {"k": 1}, optional)))

    def end(self) -> None:
        self.channel.send_bytes(encode(EndRun()))

    def heard(self) -> Any:
        """Return the next message after Join, and keep its model; None if there is none."""
        while self.channel.poll(0):
            parcel = self.channel.take(2**20)
            assert parcel is not None
            message = decode_from_site.decode(parcel.data)
            self.model = None if parcel.file is None else take(parcel.file, self.exchange, 2**20)[0]
            parcel.drop()
            if not isinstance(message, Join):
                return replace(message, seconds=None, stream="", last=0) if isinstance(message, SendResult) else message
        return None


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[tuple[SiteBackend, Server]]:
    ours, theirs = ParcelConnection.pair()
    spec = site_spec(tmp_path, "", config={"site_name": "x"})
    backend = SiteBackend(spec, SiteChannel(spec, os.dup(theirs.fileno())))
    theirs.close()
    yield backend, Server(ours, tmp_path / "exchange")
    bind(None)
    backend.spool.close()
    ours.close()
    backend._channel.close()


@pytest.fixture
def backend(ends: tuple[SiteBackend, Server]) -> SiteBackend:
    return ends[0]


@pytest.fixture
def server(ends: tuple[SiteBackend, Server]) -> Server:
    return ends[1]


def test_a_task_is_the_same_until_it_is_answered(backend: SiteBackend, server: Server) -> None:
    server.ask(params=True)
    server.ask(2)
    assert backend.is_running()
    for _ in range(2):
        model = backend.receive()
        assert model is not None
        assert model.params is not None
        assert (backend.task_name, model.current_round, model.total_rounds, model.meta) == ("train", 4, 9, {"k": 1})
        assert model.params["w"].tolist() == [0.0, 1.0, 2.0]
    backend.send(FLModel(params={"w": np.ones(3)}, metrics={"a": np.float32(0.5)}, meta={"n": 3}))
    assert server.heard() == SendResult(1, True, "FULL", {"a": 0.5}, {"n": 3})
    assert server.model is not None
    assert server.model["w"].tolist() == [1.0, 1.0, 1.0]
    assert backend.task_name == ""
    second = backend.receive()
    assert second is not None
    assert (backend.task_name, second.params) == ("train", {})  # no model yet, as in FLARE


def test_a_task_may_not_be_answered_twice(backend: SiteBackend, server: Server) -> None:
    with pytest.raises(ConfigError, match=r"call receive\(\) first, and send\(\) once per task"):
        backend.send(FLModel())
    server.ask()
    backend.receive()
    backend.send(FLModel(metrics={}))
    with pytest.raises(ConfigError, match="without a task"):
        backend.send(FLModel(metrics={}))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ({"w": 1}, ConfigError, r"send\(\) got a dict; it takes a fedtrack\.client\.FLModel"),
        (FLModel(meta={"x": object()}), ConfigError, r"FLModel\.meta cannot be sent: .*use numbers, strings"),
        (FLModel(metrics={"a": "high"}), ConfigError, r"FLModel\.metrics\['a'\] is a str; a metric is a number"),
        (FLModel(params={"w": [1.0]}), ModelError, "Tensor 'w' is a list"),
    ],
)
def test_what_cannot_be_sent_says_nothing_and_leaves_the_task_to_be_answered(
    model: Any, error: type[Exception], message: str, backend: SiteBackend, server: Server
) -> None:
    server.ask(7)
    backend.receive()
    with pytest.raises(error, match=message):
        backend.send(model)
    assert server.heard() is None
    backend.send(FLModel(metrics={"a": 1.0}))
    assert server.heard() == SendResult(7, False, None, {"a": 1.0}, {})


def test_coming_back_without_an_answer_skips_a_task_that_is_optional(backend: SiteBackend, server: Server) -> None:
    server.ask(1, "submit_model", optional=True)
    assert backend.is_running()
    assert backend.task_name == "submit_model"
    server.ask(2)
    assert backend.is_running()
    assert (server.heard(), backend.task_name) == (SkipTask(1), "train")
    assert backend.is_running()  # of a task that has to be answered nothing is skipped
    assert server.heard() is None


def test_an_optional_task_is_given_up_when_the_server_has_gone_on(backend: SiteBackend, server: Server) -> None:
    server.ask(1, "submit_model", optional=True)
    backend.receive()
    server.ask(2)
    backend.receive()
    backend.send(FLModel(metrics={}))
    assert server.heard() == SendResult(2, False, None, {}, {})


def test_waiting_ends_with_its_timeout_and_the_task_still_comes(backend: SiteBackend, server: Server) -> None:
    assert backend.receive(timeout=0.01) is None
    server.ask()
    assert backend.receive(timeout=5) is not None


def test_after_the_last_task_there_is_none(backend: SiteBackend, server: Server) -> None:
    server.end()
    assert not backend.is_running()
    assert backend.receive() is None


def test_a_server_that_is_gone_is_the_end_and_no_traceback(
    backend: SiteBackend, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.channel.close()
    assert not backend.is_running()
    assert backend.receive() is None
    Writer().record_metric("loss", 1.0, 0)
    with caplog.at_level(logging.WARNING):
        backend.leave()
    assert f"the server is gone; what was logged is in {backend.spool.folder}" in caplog.text


def test_a_script_that_has_shut_down_gets_no_further_task(backend: SiteBackend, server: Server) -> None:
    server.ask()
    backend.shutdown()
    assert not backend.is_running()


def test_who_leaves_says_how_much_was_logged(backend: SiteBackend, server: Server) -> None:
    for step in range(3):
        Writer().record_metric("loss", 1.0, step)
    backend.leave()
    left = server.heard()
    assert isinstance(left, SiteLeft)
    assert (left.logged, left.dropped, len(left.streams)) == (3, 0, 1)


def test_a_forked_child_does_not_speak_for_the_site(backend: SiteBackend, server: Server) -> None:
    pid = os.fork()
    if pid == 0:
        backend.leave()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert server.heard() is None
    Writer().record_metric("loss", 1.0, 0)  # nor has it closed the parent's spool
    backend.leave()
    assert server.heard().logged == 1


def test_metrics_become_plain_numbers() -> None:
    found = plain_metrics({"a": np.float64(0.5), "b": np.array([2.0]).item(), 3: True})  # type: ignore[dict-item]
    assert found == {"a": 0.5, "b": 2.0, "3": 1.0}
    assert {type(value) for value in found.values()} == {float}
    assert plain_metrics(None) is None
    with pytest.raises(ConfigError, match=r"FLModel\.metrics\['c'\] is a list; a metric is a number"):
        plain_metrics({"c": [1.0]})
