"""MLflowReceiver keeps the laws of a receiver, read back from MLflow's SQLite store and its artifacts."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fedtrack.testing import ReceiverContract, Stored
from fedtrack.tracking.records import Artifact, Histogram, Image, Param, Tag, Text
from fedtrack_mlflow import MLflowReceiver, keys
from fedtrack_mlflow.names import table_of

#: Where the receiver puts the files of a key, and what it makes of a step.
_SERIES = re.compile(r"(text|images|histograms)/(.+)/(-?\d+)\.\w+", re.DOTALL)
_KINDS = {"text": Text, "images": Image, "histograms": Histogram}


class TestMLflowReceiver(ReceiverContract):
    time_resolution_ns = 1_000_000

    @pytest.fixture(autouse=True)
    def _give_up_soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    def make_receiver(self) -> MLflowReceiver:
        return MLflowReceiver()

    def make_unreachable_receiver(self) -> MLflowReceiver:
        return MLflowReceiver(tracking_uri="http://127.0.0.1:9")

    def read(self, folder: Path) -> list[Stored]:
        with closing(sqlite3.connect(folder / "mlflow.db")) as store:
            runs = store.execute("SELECT run_uuid, value FROM tags WHERE key = 'fedtrack.site'").fetchall()
            return [stored for run, site in runs for stored in SiteRun(store, run, site).stored()]


@dataclass
class SiteRun:
    """A site's run in the store."""

    store: sqlite3.Connection
    run: str
    site: str

    def stored(self) -> Iterator[Stored]:
        """Return everything that the site has logged."""
        for name, value, timestamp, step, is_nan in self._rows("metrics", "key, value, timestamp, step, is_nan"):
            yield Stored(self.site, self._key(name), math.nan if is_nan else value, step, timestamp * 1_000_000)
        for name, value in self._rows("params", "key, value"):
            yield Stored(self.site, self._key(name), value, kind=Param)
        for name, value in self._rows("tags", "key, value"):
            if not name.startswith(keys.RESERVED_PREFIXES):
                yield Stored(self.site, self._key(name), value, kind=Tag)
        for path, data in self._files():
            yield self._file(path, data)

    def _rows(self, table: str, columns: str) -> list[tuple[Any, ...]]:
        query = f"SELECT {columns} FROM {table} WHERE run_uuid = ? ORDER BY rowid"  # noqa: S608
        return self.store.execute(query, (self.run,)).fetchall()

    def _key(self, name: str) -> str:
        table = table_of(dict(self._rows("tags", "key, value")))
        key = table.get(name, name).replace("\\x00", "\0")
        return key if name in table else keys.decode(name) or name

    def _files(self) -> Iterator[tuple[str, bytes]]:
        (uri,) = self.store.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", (self.run,)).fetchone()
        folder = Path(uri.removeprefix("file://"))
        for path in folder.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(folder)), path.read_bytes()

    def _file(self, path: str, data: bytes) -> Stored:
        series = _SERIES.fullmatch(path)
        if series is None:
            return Stored(self.site, self._key(path), data, kind=Artifact)
        kind, value = _KINDS[series[1]], _value(series[1], data)
        return Stored(self.site, self._key(series[2]), value, int(series[3]), kind=kind)


def _value(folder: str, data: bytes) -> Any:
    if folder == "images":
        return data
    if folder == "text":
        return data.decode()
    content = json.loads(data)
    return content["edges"], content["counts"]
