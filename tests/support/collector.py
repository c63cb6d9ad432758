"""A real ``fedtrack collect`` for tests, which can be killed and started again, and an oracle of its journals."""

from __future__ import annotations

import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

_STARTUP_SECONDS = 120
_FRAME = struct.Struct("<2sIIQ")


class CollectorProcess:
    """A collector in a process of its own.

    Args:
        folder: A folder for the test; the collector's is in it.
        options: Further options of ``fedtrack collect``.
        scheme: ``http``, or ``https`` if the options have a certificate.
    """

    def __init__(self, folder: Path, *options: str, scheme: str = "http") -> None:
        self.folder = folder / "collector"
        self.port = 0
        self.scheme = scheme
        self._options = options
        self._output = folder / "collector-output.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "fedtrack", "collect", str(self.folder), "--port", str(self.port)]
        before = self._output.stat().st_size if self._output.exists() else 0
        with self._output.open("ab") as output:
            self._process = subprocess.Popen([*command, *self._options], stdout=output, stderr=output)
        deadline = time.monotonic() + _STARTUP_SECONDS
        while "Collecting at" not in (said := self._output.read_bytes()[before:].decode()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the collector did not start:\n{said[-3000:]}")
            time.sleep(0.05)
        self.port = int(said.partition("Collecting at ")[2].split()[0].rpartition(":")[2])

    def kill(self) -> None:
        """End it with SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it in order, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop()

    def command(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command about this collector's folder."""
        command = [sys.executable, "-m", "fedtrack", "collect", *words, "--folder", str(self.folder)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=check)

    def token(self, site: str, *options: str) -> str:
        return self.command("tokens", "add", site, *options).stdout.strip()

    def run(self, name: str) -> Path:
        """Return a run's folder, for the commands of stored runs."""
        return self.folder / "runs" / name

    def events(self, name: str) -> dict[str, list[list[Any]]]:
        """Return the events in a run's journal by site and stream, read without the code of fedtrack."""
        return journal_events(self.run(name) / "server" / "simulate_job" / "journal.db")


def journal_events(path: Path) -> dict[str, list[list[Any]]]:
    """Return the events in a journal by site: stream, number, round, and the fields of the record.

    The journal is read without the code of fedtrack; it may not exist yet.
    """
    if not path.exists():
        return {}
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT site, stream, round, body FROM batch ORDER BY id").fetchall()
    except sqlite3.OperationalError:  # being created
        return {}
    finally:
        connection.close()
    found: dict[str, list[list[Any]]] = {}
    for site, stream, round_, body in rows:
        for seq, payload in _frames(body):
            record = msgspec.msgpack.decode(payload)
            if record[0] < 32 and record[0] != 9:
                found.setdefault(site, []).append([stream, seq, round_, *record])
    return found


def _frames(body: bytes) -> list[tuple[int, bytes]]:
    position, found = 0, []
    while position < len(body):
        _, length, _, seq = _FRAME.unpack_from(body, position)
        position += _FRAME.size
        found.append((seq, body[position : position + length]))
        position += length
    return found


def environment(collector: CollectorProcess, folder: Path, site: str, run: str, token: str) -> dict[str, str]:
    """Return the environment of a training that connects by it."""
    return {
        **os.environ,
        "FEDTRACK_URL": collector.url,
        "FEDTRACK_SITE": site,
        "FEDTRACK_RUN": run,
        "FEDTRACK_TOKEN": token,
        "FEDTRACK_OUTBOX": str(folder / "outbox"),
    }
