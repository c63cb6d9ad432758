"""The release logs of a run are found and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import ConfigError, DamagedError
from fedtrack.runs.release_logs import checked, find_logs
from fedtrack.seals.release_log import ReleaseLog
from fedtrack.seals.site_key import SiteKey


def test_a_signature_of_another_key_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "release_log.jsonl"
    one, two = SiteKey.of(tmp_path / "1.pem"), SiteKey.of(tmp_path / "2.pem")
    ReleaseLog(path, "site-1", "run", "", one).close()
    assert find_logs(path) == find_logs(tmp_path) == {"site-1": path}
    assert one.public in checked(path)[1]
    path.write_text(path.read_text().replace(one.public, two.public))
    with pytest.raises(DamagedError, match="signature"):
        checked(path)


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "release_log.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="no release log"):
        find_logs(tmp_path)
    with pytest.raises(ConfigError, match="no run"):
        find_logs(tmp_path / "other")
