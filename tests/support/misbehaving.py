"""A plugin with a receiver that keeps lines in a file, and can do what no receiver should: end its process, or hang.

It is installed for a test by ``support.deliverers``, so that a deliverer finds it. It imports nothing of the tests.
"""

import ctypes
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from fedtrack import Batch, Receiver, ReceiverOptions, Results, RunInfo, hookimpl
from fedtrack.tracking.records import Metric


def _segfault() -> None:
    ctypes.string_at(0)


def _signal(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(3600)  # another thread may take it, a moment later


def _spin() -> None:
    while True:
        pass


def _hold_the_lock() -> None:
    ctypes.PyDLL(None).sleep(3600)  # a call of C that does not release the interpreter's lock


def _search_for_ever() -> None:
    re.match(r"(a+)+$", "a" * 64 + "b")


def _take_all_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (1 << 31, resource.RLIM_INFINITY))
    held = []
    while True:
        held.append(bytearray(1 << 26))


def _start_threads_that_never_end() -> None:
    for _ in range(200):
        threading.Thread(target=time.sleep, args=(3600,)).start()


def _close_the_first_descriptors() -> None:
    for descriptor in range(3):
        os.close(descriptor)


def _close_every_descriptor() -> None:
    os.closerange(3, 4096)


def _print() -> None:
    print("junk of a receiver", flush=True)
    os.write(1, b"junk below Python\n")
    sys.stderr.write("junk of errors\n")


def _change_folder() -> None:
    os.chdir("/")


def _change_handlers() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
        ctypes.CDLL(None).signal(int(number), None)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _raise() -> None:
    raise RuntimeError("no luck")


def _thread_that_aborts() -> None:
    threading.Timer(0.1, os.abort).start()


HOW: dict[str, Callable[[], object]] = {
    "abort": os.abort,
    "segfault": _segfault,
    "illegal": lambda: _signal(signal.SIGILL),
    "float": lambda: _signal(signal.SIGFPE),
    "bus": lambda: _signal(signal.SIGBUS),
    "kill": lambda: _signal(signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "exit-0": lambda: os._exit(0),
    "sys-exit": lambda: sys.exit(5),
    "interrupt": _interrupt,
    "raise": _raise,
    "hang": lambda: time.sleep(3600),
    "spin": _spin,
    "lock": _hold_the_lock,
    "search": _search_for_ever,
    "memory": _take_all_memory,
    "threads": _start_threads_that_never_end,
    "descriptors": _close_the_first_descriptors,
    "every-descriptor": _close_every_descriptor,
    "print": _print,
    "folder": _change_folder,
    "handlers": _change_handlers,
    "thread-aborts": _thread_that_aborts,
}


class LinesOptions(ReceiverOptions, kw_only=True, forbid_unknown_fields=True):
    """The file for the lines, and what to do wrong: in which call, how, how often, and with which values."""

    file: str
    where: str = ""
    how: str = ""
    times: int = 1_000_000
    poison: list[float] = []
    answer: str = ""


class Lines(Receiver):
    """Writes ``<value>`` once for each record, and a line for each of its calls into ``<file>.calls``."""

    name = "lines"
    summary = "Lines in a file."
    supports = frozenset({Metric})
    gather_seconds = 0.0
    Options = LinesOptions
    options: LinesOptions

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._misbehave("init")

    def prepare(self) -> None:
        self._misbehave("prepare")

    def open(self, run: RunInfo) -> None:
        self._misbehave("open")

    def receive(self, batch: Batch) -> None:
        values = [record.value for record in batch.records if isinstance(record, Metric)]
        if not self.options.poison or set(values) & set(self.options.poison):
            self._misbehave("receive")
        path = Path(self.options.file)
        held = set(path.read_text().splitlines()) if path.exists() else set()
        with path.open("a") as file:
            file.writelines(f"{value:g}\n" for value in values if f"{value:g}" not in held)

    def flush(self) -> None:
        self._misbehave("flush")

    def close(self, status: str) -> None:
        self._misbehave("close")

    def results(self) -> Results | None:
        self._misbehave("results")
        if self.options.answer:
            return {"text": "here", "object": threading.Lock(), "numbers": Results(3, 4)}[self.options.answer]  # type: ignore[return-value, arg-type]
        return Results(self.options.file, f"cat {self.options.file}")

    def _misbehave(self, where: str) -> None:
        if where != self.options.where or "deliverer" not in sys.orig_argv[-3]:
            return
        with Path(f"{self.options.file}.calls").open("a") as file:
            file.write(f"{where}\n")
        if len(Path(f"{self.options.file}.calls").read_text().splitlines()) <= self.options.times:
            HOW[self.options.how]()


@hookimpl
def fedtrack_receivers() -> Iterable[type[Receiver]]:
    return (Lines,)
