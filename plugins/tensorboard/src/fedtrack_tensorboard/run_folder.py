"""Run folders: the event files of one TensorBoard run. Each process appends to a file of its own.

The files are the only state. A *position*, an event without a value, says which record the next event holds; each
further event holds the next record of that stream. After any crash the whole frames say exactly which records are
written. Nothing is appended to a torn frame: the next process starts a new file, because a reader that has seen a part
of a frame must not find other bytes there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata

from fedtrack_tensorboard.event_file import append, frame, read_payloads

#: TensorBoard reads the files of a folder in the order of their names.
_FILE_NAME = "events.out.tfevents.{:08d}.fedtrack"

_POSITION = re.compile(r"fedtrack ([0-9a-f]{32}) ([0-9]+)\Z")


class RunFolder:
    """Reads what earlier processes wrote and appends to a new file.

    Args:
        path: The folder, which is created (0700) with the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Path | None = None
        self._expected: tuple[str, int] | None = None
        self._pending = bytearray()

    def events(self) -> Iterator[tuple[str, int, Event]]:
        """Yield (stream, seq, event) for every record in the folder."""
        for file in self._files():
            position: tuple[str, int] | None = None
            for payload in read_payloads(file):
                event = Event.FromString(payload)
                if match := _POSITION.match(event.source_metadata.writer):
                    position = match[1], int(match[2])
                elif position is not None:
                    yield *position, event
                    position = position[0], position[1] + 1

    def add(self, stream: str, seq: int, event: Event) -> int:
        """Queue the event that holds record ``seq`` of ``stream``; return its size in bytes."""
        if self._expected is None:
            self._pending += frame(Event(wall_time=event.wall_time, file_version="brain.Event:2").SerializeToString())
        if self._expected != (stream, seq):
            position = SourceMetadata(writer=f"fedtrack {stream} {seq}")
            self._pending += frame(Event(wall_time=event.wall_time, source_metadata=position).SerializeToString())
        payload = event.SerializeToString()
        self._pending += frame(payload)
        self._expected = stream, seq + 1
        return len(payload)

    def commit(self) -> None:
        """Write the queued events with one write.

        Raises:
            OSError: Not all events were written. Read the folder again before you add others.
        """
        if not self._pending:
            return
        if self._file is None:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self.path / _FILE_NAME.format(self._next_number())
            append(file, self._pending, create=True)
            self._file = file
        else:
            append(self._file, self._pending, create=False)
        self._pending.clear()

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("events.out.tfevents.*.fedtrack"))

    def _next_number(self) -> int:
        files = self._files()
        return int(files[-1].name.split(".")[3]) + 1 if files else 1
