"""The release logs of a run are found and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import ConfigError, DamagedError
from fedtrack.runs.release_logs import checked, find_logs
from fedtrack.runs.workspace import RunRecord, Workspace
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


def test_the_logs_that_sites_of_other_machines_have_sent_are_found(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws")
    workspace.create(RunRecord("run", "", 1), ["site-1"])
    ReleaseLog(workspace.server / "release_logs" / "site-2.jsonl", "site-2", "run", "").close()
    ReleaseLog(workspace.site("site-1") / "release_log.jsonl", "site-1", "run", "").close()
    workspace.close()
    assert sorted(find_logs(tmp_path / "ws")) == ["site-1", "site-2"]


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "release_log.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="no release log"):
        find_logs(tmp_path)
    with pytest.raises(ConfigError, match="no run"):
        find_logs(tmp_path / "other")
