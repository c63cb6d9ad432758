"""Carve: the rows in the pages of a damaged SQLite file, found without its trees.

SQLite reaches a row through the pages above it, so one damaged page can hide many intact ones, and a damaged first page
hides all. Here each page is read for itself: a page that is a leaf shows its rows, whatever its neighbours look like.
The format of the pages: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

Value: TypeAlias = int | float | str | bytes | None

_MAGIC = b"SQLite format 3\0"
_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)
_USUAL_SIZE = 4096
_FIRST_PAGE_HEADER = 100
_WAL_HEADER, _WAL_FRAME_HEADER = 32, 24
_WAL_MAGICS = (0x377F0682, 0x377F0683)
#: A row of the largest batch is far shorter.
_LONGEST_ROW = 64 * 1024 * 1024

_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 0x0D, 0x0A, 0x02
_INTEGER_SIZES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Row(NamedTuple):
    """A row that was found.

    Attributes:
        id: Its rowid; None in a table without rowids, and in an index.
        values: Its columns; bytes of a long value that are gone are zero.
    """

    id: int | None
    values: tuple[Value, ...]


def carve(path: Path) -> Iterator[Row]:
    """Yield the rows of every readable page of a SQLite file, in the order of the pages.

    A row may be found twice, and an old version of it may be found beside it. Nothing is written.

    Raises:
        OSError: The file cannot be read.
    """
    with _Pages(path) as pages:
        for number in pages.numbers():
            yield from _rows(pages, number)


class _Pages:
    """The pages of a database: those of its write-ahead log before those of the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._log = None
        log = path.with_name(f"{path.name}-wal")
        if log.exists():
            self._log = log.open("rb")
        self._later: dict[int, int] = {}
        self.size = self._find_size()
        self.usable = self.size
        self._read_log()
        self._count = -(-path.stat().st_size // self.size)

    def __enter__(self) -> _Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._log is not None:
            self._log.close()

    def numbers(self) -> list[int]:
        return sorted({*range(1, self._count + 1), *self._later})

    def page(self, number: int) -> bytes:
        """Return a page, filled with zeros where the file is too short; b"" if there is none."""
        if number in self._later and self._log is not None:
            self._log.seek(self._later[number])
            data = self._log.read(self.size)
        elif 1 <= number <= self._count:
            self._file.seek((number - 1) * self.size)
            data = self._file.read(self.size)
        else:
            return b""
        return data.ljust(self.size, b"\0")

    def _find_size(self) -> int:
        head = self._file.read(_FIRST_PAGE_HEADER)
        size = int.from_bytes(head[16:18], "big") if head[:16] == _MAGIC else 0
        size = 65536 if size == 1 else size
        if size not in _SIZES and self._log is not None:
            size = int.from_bytes(self._log.read(_WAL_HEADER)[8:12].rjust(4, b"\0"), "big")
        return size if size in _SIZES else _USUAL_SIZE

    def _read_log(self) -> None:
        """Find the last committed version of each page in the log, up to the first frame that is not valid."""
        if self._log is None:
            return
        self._log.seek(0)
        head = self._log.read(_WAL_HEADER)
        if len(head) < _WAL_HEADER:
            return
        magic, _, size, _, salt_1, salt_2, sum_1, sum_2 = struct.unpack(">8I", head)
        order = ">" if magic & 1 else "<"
        if magic not in _WAL_MAGICS or size != self.size or _checksum(head[:24], order, 0, 0) != (sum_1, sum_2):
            return
        sums, at, open_frames = (sum_1, sum_2), _WAL_HEADER, dict[int, int]()
        while len(frame := self._log.read(_WAL_FRAME_HEADER + self.size)) == _WAL_FRAME_HEADER + self.size:
            number, commit, *rest = struct.unpack(">6I", frame[:_WAL_FRAME_HEADER])
            sums = _checksum(frame[:8], order, *sums)
            sums = _checksum(frame[_WAL_FRAME_HEADER:], order, *sums)
            if (*rest,) != (salt_1, salt_2, *sums):
                return
            open_frames[number] = at + _WAL_FRAME_HEADER
            if commit:
                self._later.update(open_frames)
                open_frames.clear()
            at += len(frame)


def _checksum(data: bytes, order: str, sum_1: int, sum_2: int) -> tuple[int, int]:
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        sum_1 = (sum_1 + first + sum_2) & 0xFFFFFFFF
        sum_2 = (sum_2 + second + sum_1) & 0xFFFFFFFF
    return sum_1, sum_2


def _rows(pages: _Pages, number: int) -> Iterator[Row]:
    page = pages.page(number)
    start = _FIRST_PAGE_HEADER if number == 1 else 0
    kind = page[start]
    if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
        return
    cells = int.from_bytes(page[start + 3 : start + 5], "big")
    first = start + (12 if kind == _INDEX_INTERIOR else 8)
    for index in range(min(cells, (pages.size - first) // 2)):
        at = int.from_bytes(page[first + 2 * index : first + 2 * index + 2], "big")
        if at < first:
            continue
        try:
            row = _row(pages, page, at + (4 if kind == _INDEX_INTERIOR else 0), table=kind == _TABLE_LEAF)
        except (IndexError, ValueError, struct.error):
            continue  # damaged
        if row is not None:
            yield row


def _row(pages: _Pages, page: bytes, at: int, *, table: bool) -> Row | None:
    """Return the row of the cell at an offset of a page."""
    size, at = _varint(page, at)
    id_ = None
    if table:
        id_, at = _varint(page, at)
    if not 0 < size <= _LONGEST_ROW:
        return None
    payload = _payload(pages, page, at, size, table=table)
    return Row(id_, _values(payload))


def _payload(pages: _Pages, page: bytes, at: int, size: int, *, table: bool) -> bytes:
    """Return a row's bytes, also those on further pages."""
    usable = pages.usable
    most = usable - 35 if table else (usable - 12) * 64 // 255 - 23
    if size <= most:
        return page[at : at + size].ljust(size, b"\0")
    least = (usable - 12) * 32 // 255 - 23
    local = least + (size - least) % (usable - 4)
    local = local if local <= most else least
    found, left = [page[at : at + local]], size - local
    following = int.from_bytes(page[at + local : at + local + 4], "big")
    seen: set[int] = set()
    while left > 0 and following not in seen:
        seen.add(following)
        more = pages.page(following)
        if not more:
            break
        found.append(more[4 : 4 + min(left, usable - 4)])
        left -= len(found[-1])
        following = int.from_bytes(more[:4], "big")
    return b"".join(found).ljust(size, b"\0")


def _values(payload: bytes) -> tuple[Value, ...]:
    """Return the columns of a record.

    Raises:
        ValueError: The bytes are not a record.
    """
    end, at = _varint(payload, 0)
    if not at <= end <= len(payload):
        raise ValueError("no record")
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    found: list[Value] = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        found.append(value)
    if at != len(payload):
        raise ValueError("no record")
    return tuple(found)


def _value(payload: bytes, at: int, kind: int) -> tuple[Value, int]:
    if kind == 0:
        return None, at
    if kind in _INTEGER_SIZES:
        end = at + _INTEGER_SIZES[kind]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if kind == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError("no kind of value")
    end = at + (kind - 12) // 2
    if end > len(payload):
        raise ValueError("no record")
    data = payload[at:end]
    return (data.decode() if kind % 2 else data), end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of SQLite's variable length, and the offset behind it."""
    value = 0
    for index in range(9):
        byte = data[at + index]
        if index == 8:
            value = value << 8 | byte
            break
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    at += index + 1
    return (value - (1 << 64) if value >= 1 << 63 else value), at
