"""Receivers: how one is called, and what is said of an argument that is wrong."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from fedtrack.errors import ConfigError
from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT, Batch
from fedtrack.tracking.receiver import Receiver, ReceiverOptions, RunInfo, listened_events
from fedtrack.tracking.records import Metric


class Options(ReceiverOptions):
    uri: str
    tries: int = 3
    tags: list[str] = []


class Csv(Receiver):
    name, summary, supports = "csv", "Rows.", frozenset({Metric})
    Options = Options

    def open(self, run: RunInfo) -> None: ...

    def receive(self, batch: Batch) -> None: ...


class Placed(Csv):
    """As FLARE's TensorBoard receiver, whose events come first."""

    class Options(ReceiverOptions):
        events: list[str] | None = None
        folder: str = "tb"


class Inheriting(Csv):
    class Options(Options):
        width: int = 80


def options(receiver: Receiver) -> Any:
    return receiver.options


def test_arguments_go_by_name_or_in_their_order_and_events_come_last() -> None:
    assert options(Csv("a", 5, ["x"], [LOCAL_EVENT])) == Options(uri="a", tries=5, tags=["x"], events=[LOCAL_EVENT])
    assert options(Csv("a", tags=["x"])) == Options(uri="a", tags=["x"])
    assert options(Placed([FED_EVENT], "here")).folder == "here"
    assert list(inspect.signature(Inheriting).parameters) == ["uri", "tries", "tags", "width", "events"]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"Csv \(csv\): Object missing required field `uri`; valid arguments: .*uri, tries, tags"),
        (("a",), {"tires": 1}, r"Csv \(csv\): Object contains unknown field `tires`; valid arguments: "),
        (("a", "5"), {}, r"Expected `int`, got `str` - at `\$\.tries`"),
        (("a",), {"uri": "b"}, "Csv got 'uri' both by position and by name"),
        (("a", 1, [], None, 7), {}, r"takes at most 4 positional arguments \(uri, tries, tags, events\), got 5"),
        (("a",), {"events": "loss"}, r"at `\$\.events`"),
    ],
)
def test_a_wrong_argument_is_named_with_those_that_are_valid(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Csv(*args, **kwargs)


def test_two_receivers_share_no_list() -> None:
    options(Csv("a")).tags.append("x")
    assert options(Csv("a")).tags == []


def test_without_a_choice_a_receiver_listens_to_the_events_of_its_node() -> None:
    assert listened_events(Csv("a")) == (FED_EVENT,)
    assert listened_events(Csv("a"), LOCAL_EVENT) == (LOCAL_EVENT,)
    assert listened_events(Csv("a", events=[LOCAL_EVENT, FED_EVENT])) == (LOCAL_EVENT, FED_EVENT)
    assert listened_events(Csv("a", events=[])) == ()


def test_one_that_takes_no_records_cannot_be_made() -> None:
    class Half(Receiver):
        name, summary, supports = "half", "x", frozenset({Metric})

        def open(self, run: RunInfo) -> None: ...

    with pytest.raises(TypeError, match="receive"):
        Half()  # type: ignore[abstract]


def test_what_is_optional_does_nothing() -> None:
    receiver = Csv("a")
    receiver.prepare()
    receiver.flush()
    receiver.close("completed")
    assert (receiver.count(["site-1"]), receiver.point(Metric(1, "a", 0.5)), receiver.results()) == (None, None, None)
