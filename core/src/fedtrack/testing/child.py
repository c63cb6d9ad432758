"""A child process for two laws: construction loads no SDK, and the death of the process loses nothing."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import Receiver, RunInfo
from fedtrack.tracking.records import AnyRecord

_TIMEOUT_SECONDS = 120
_HELPERS_SECONDS = 10.0
_CODE_ENDINGS = (".py", ".pyc", ".so", ".pth", "/__pycache__")
_WATCHED = ("open", "os.mkdir", "os.rename", "os.remove", "socket.connect", "sqlite3.connect", "subprocess.Popen")


class Order(msgspec.Struct):
    """The order to the child process: construct the receiver and, if there are records, run it until it dies.

    Attributes:
        module: The module of the receiver's class.
        file: That module's file, used if the module cannot be imported by its name, as a test module cannot.
        qualname: The name of the class in the module.
        options: The receiver's options.
        run: The fields of RunInfo that are text; empty if the receiver is only constructed.
        sites: RunInfo's sites.
        records: The records that the receiver receives before it dies, as the first ones of ``site-1``.
    """

    module: str
    file: str
    qualname: str
    options: dict[str, Any]
    run: dict[str, str] = {}
    sites: tuple[str, ...] = ()
    records: tuple[AnyRecord, ...] = ()


class Report(msgspec.Struct):
    """The side effects of constructing a receiver.

    Attributes:
        imported: Modules of its SDK that are loaded.
        touched: Files, sockets and processes that it opened or made.
    """

    imported: list[str]
    touched: list[str]


def construct(receiver: Receiver, folder: Path) -> Report:
    """Construct an equal receiver in a new process whose working directory and home are ``folder``."""
    ended = _run(_order(receiver), folder)
    assert ended.returncode == 0, ended.stderr  # noqa: S101
    return msgspec.json.decode(ended.stdout.splitlines()[-1], type=Report)


def flush_and_die(receiver: Receiver, run: RunInfo, records: Sequence[AnyRecord]) -> subprocess.CompletedProcess[str]:
    """Open an equal receiver in a new process, hand it the records, flush it, and kill the process."""
    order = _order(receiver)
    order.run = {
        "run_id": run.run_id,
        "job_name": run.job_name,
        "folder": str(run.folder),
        "node": run.node,
        "blobs": str(run.blobs.folder),
    }
    order.sites = run.sites
    order.records = tuple(records)
    return _run(order, None)


def _order(receiver: Receiver) -> Order:
    cls = type(receiver)
    assert "<locals>" not in cls.__qualname__, f"define {cls.__name__} at the top level of its module"  # noqa: S101
    file = sys.modules[cls.__module__].__file__ or ""
    options = msgspec.to_builtins(receiver.options, enc_hook=str)
    return Order(cls.__module__, file, cls.__qualname__, options)


def _run(order: Order, folder: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if folder is not None:
        environment["HOME"] = str(folder)
    with subprocess.Popen(
        [sys.executable, "-B", "-m", "fedtrack.testing.child"],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            stdout, stderr = process.communicate(msgspec.json.encode(order).decode(), _TIMEOUT_SECONDS)
        finally:
            _end_group(process.pid)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def _end_group(group: int) -> None:
    """Let the helper processes of a backend finish what they have, then end them."""
    deadline = time.monotonic() + _HELPERS_SECONDS
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)


def _main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    cls = _load(order)
    touched: list[str] = []
    watching = True

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in _WATCHED and not (event == "open" and str(arguments[0]).endswith(_CODE_ENDINGS)):
            touched.append(f"{event} {arguments[0]!r}")

    sys.addaudithook(watch)
    receiver: Receiver = cls(**order.options)
    watching = False
    if order.records:
        _receive_and_die(receiver, order)
    imported = sorted(name for name in cls.requires if name in sys.modules)
    print(msgspec.json.encode(Report(imported, touched)).decode())


def _load(order: Order) -> Any:
    try:
        found: Any = importlib.import_module(order.module)
    except ModuleNotFoundError:
        found = _load_file(order.module, order.file)
    for name in order.qualname.split("."):
        found = getattr(found, name)
    return found


def _load_file(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None, f"{file} is no Python file"  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _receive_and_die(receiver: Receiver, order: Order) -> None:
    run = RunInfo(
        run_id=order.run["run_id"],
        job_name=order.run["job_name"],
        folder=Path(order.run["folder"]),
        node=order.run["node"],
        sites=order.sites,
        started_ns=time.time_ns(),
        blobs=BlobStore(Path(order.run["blobs"])),
    )
    receiver.open(run)
    for seq, record in enumerate(order.records):
        receiver.receive(Batch(order.sites[0], "0123456789abcdef" * 2, [seq], [record]))
    receiver.flush()
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    _main()
