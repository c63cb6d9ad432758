"""Damage: what can happen to the files of a run while nobody looks."""

from __future__ import annotations

from pathlib import Path

_PAGE = 4096


def _segment(workspace: Path) -> Path:
    """Return the longest segment of site-1."""
    found = sorted(
        (workspace / "site-1" / "simulate_job" / "spool").glob("*.spool"), key=lambda path: path.stat().st_size
    )
    assert found, "site-1 left no segment"
    return found[-1]


def _journal(workspace: Path) -> Path:
    path = workspace / "server" / "simulate_job" / "journal.db"
    assert not path.with_name("journal.db-wal").exists(), "the run has ended in order"
    return path


def empty_segment(workspace: Path) -> None:
    _segment(workspace).write_bytes(b"")


def delete_segment(workspace: Path) -> None:
    _segment(workspace).unlink()


def flip_segment(workspace: Path) -> None:
    path = _segment(workspace)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def _page_of_records(data: bytes) -> int:
    """Return the offset of the page with the most frames."""
    pages = range(_PAGE, len(data), _PAGE)
    return max(pages, key=lambda start: data.count(b"\xf5\xd7", start, start + _PAGE))


def zero_page(workspace: Path) -> None:
    path = _journal(workspace)
    data = bytearray(path.read_bytes())
    start = _page_of_records(data)
    data[start : start + _PAGE] = bytes(_PAGE)
    path.write_bytes(data)


def swap_pages(workspace: Path) -> None:
    path = _journal(workspace)
    data = bytearray(path.read_bytes())
    first, last = _page_of_records(data), len(data) - _PAGE
    if first == last:
        last -= _PAGE
    data[first : first + _PAGE], data[last : last + _PAGE] = data[last : last + _PAGE], data[first : first + _PAGE]
    path.write_bytes(data)


def truncate_journal(workspace: Path) -> None:
    path = _journal(workspace)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // _PAGE // 2 * _PAGE])


def delete_journal(workspace: Path) -> None:
    _journal(workspace).unlink()
