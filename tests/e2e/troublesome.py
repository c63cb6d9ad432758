"""A plugin with receivers that break the laws of receivers."""

from collections.abc import Iterable
from time import sleep

from fedtrack import Batch, Receiver, RunInfo, hookimpl
from fedtrack.tracking.records import Metric


class Hanging(Receiver):
    name = "hanging"
    summary = "never returns from a call"
    supports = frozenset({Metric})

    def open(self, run: RunInfo) -> None:
        """Succeed."""

    def receive(self, batch: Batch) -> None:
        sleep(3600)


class Raising(Receiver):
    name = "raising"
    summary = "fails in every call"
    supports = frozenset({Metric})

    def open(self, run: RunInfo) -> None:
        """Succeed."""

    def receive(self, batch: Batch) -> None:
        raise RuntimeError("no luck")


class Deaf(Hanging):
    name = "deaf"
    summary = "never opens"

    def open(self, run: RunInfo) -> None:
        sleep(3600)


@hookimpl
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    return (Hanging, Raising, Deaf)
