"""SpoolIdentity: a spool says whose it is, and says it to later versions too."""

import json
from pathlib import Path

from fedtrack.spool.identity import SpoolIdentity, read_identity
from fedtrack.spool.spool import Spool
from support.spooled import metric


def test_whoever_creates_a_spool_says_whose_it_is(tmp_path: Path) -> None:
    Spool(tmp_path / "spool", identity=SpoolIdentity("run-1", "site-1"))
    assert json.loads((tmp_path / "spool" / "spool.json").read_bytes()) == {
        "run": "run-1",
        "site": "site-1",
        "format": 2,
    }
    assert read_identity(tmp_path / "spool") == SpoolIdentity("run-1", "site-1", 2)
    assert (tmp_path / "spool" / "spool.json").stat().st_mode & 0o777 == 0o600


def test_what_was_said_stays(tmp_path: Path) -> None:
    Spool(tmp_path, identity=SpoolIdentity("run-1", "site-1"))
    Spool(tmp_path, identity=SpoolIdentity("run-2", "site-2"))
    assert read_identity(tmp_path) == SpoolIdentity("run-1", "site-1")


def test_fields_of_a_later_version_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "spool.json").write_text('{"run": "r", "site": "s", "format": 7, "colour": ["red"]}')
    assert read_identity(tmp_path) == SpoolIdentity("r", "s", 7)


def test_what_is_not_legible_says_nothing(tmp_path: Path) -> None:
    assert read_identity(tmp_path) is None
    for text in ("", "[]", '{"run": 1, "site": "s"}', '{"site": "s"}', "\0"):
        (tmp_path / "spool.json").write_text(text)
        assert read_identity(tmp_path) is None


def test_a_spool_that_cannot_say_it_takes_records_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "spool.json").mkdir()
    (tmp_path / "spool.json" / "in the way").touch()
    spool = Spool(tmp_path, identity=SpoolIdentity("run-1", "site-1"))
    spool.append(metric(1))
    assert spool.stored == 1
