"""ReleaseLog: every change of it is noticed, a killed writer leaves it readable, and it is signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import DamagedError
from fedtrack.seals.release_log import Line, Released, ReleaseLog, read_lines
from fedtrack.seals.site_key import SiteKey, is_signed


def written(path: Path, key: SiteKey | None = None, lines: int = 5) -> bytes:
    log = ReleaseLog(path, "site-1", "run", "sha256:ab", key)
    for number in range(1, lines + 1):
        log.write(
            Line(stream="0" * 32, first=number, last=number, head="00", released=[Released("metric", "a", 1, number)])
        )
    log.close()
    return path.read_bytes()


def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    data = written(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert written(path).startswith(data)
    lines, _ = read_lines(path.read_bytes(), "x")
    assert [line.first for line in lines] == [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    assert (lines[0].site, lines[0].run, lines[0].policy) == ("site-1", "run", "sha256:ab")


def test_other_terms_are_a_line(tmp_path: Path) -> None:
    written(tmp_path / "log")
    ReleaseLog(tmp_path / "log", "site-1", "run", "sha256:cd").close()
    lines, _ = read_lines((tmp_path / "log").read_bytes(), "x")
    assert [line.policy for line in lines if line.site] == ["sha256:ab", "sha256:cd"]


def test_a_line_of_a_killed_process_is_removed_at_every_byte(tmp_path: Path) -> None:
    whole = written(tmp_path / "log")
    last = whole[:-1].rfind(b"\n") + 1
    for cut in range(last, len(whole)):
        (tmp_path / "cut").write_bytes(whole[:cut])
        log = ReleaseLog(tmp_path / "cut", "site-1", "run", "sha256:ab")
        assert len(log.lines) == 5
        log.close()
        assert (tmp_path / "cut").read_bytes() == whole[:last]


def test_a_removed_moved_or_changed_line_is_named(tmp_path: Path) -> None:
    lines = written(tmp_path / "log").splitlines(keepends=True)
    moved = [lines[0], lines[2], lines[1], *lines[3:]]
    changed = [*lines[:2], lines[2].replace(b'"a"', b'"b"'), *lines[3:]]
    for wrong in (lines[1:], [*lines[:2], *lines[3:]], moved, changed):
        (tmp_path / "log").write_bytes(b"".join(wrong))
        with pytest.raises(DamagedError, match="Line"):
            ReleaseLog(tmp_path / "log", "site-1", "run", "sha256:ab")


def test_signatures_come_after_records_after_seconds_and_at_the_end(tmp_path: Path) -> None:
    now = [0.0]
    key = SiteKey.of(tmp_path / "keys" / "site-1.pem")
    log = ReleaseLog(tmp_path / "log", "site-1", "run", "", key, clock=lambda: now[0])

    def signatures() -> int:
        return sum(bool(line.signature) for line in read_lines((tmp_path / "log").read_bytes(), "x")[0])

    log.write(Line(stream="0" * 32, first=1, last=999), 998)
    assert signatures() == 0
    log.write(Line(stream="0" * 32, first=1000, last=1000), 1)
    assert signatures() == 1
    log.write(Line(stream="0" * 32, first=1001, last=1001), 1)
    now[0] = 10.0
    log.sign_if_due()
    assert signatures() == 2
    log.close()
    assert signatures() == 2  # there was nothing more to sign
    lines, _ = read_lines((tmp_path / "log").read_bytes(), "x")
    for line in lines:
        if line.signature:
            assert is_signed(key.public, line.signature, bytes.fromhex(line.prev))
            assert not is_signed(key.public, line.signature, bytes(32))


def test_a_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "a.pem"
    first = SiteKey.of(path)
    assert SiteKey.of(path).public == first.public
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(Exception, match="chmod"):
        SiteKey.of(path)
