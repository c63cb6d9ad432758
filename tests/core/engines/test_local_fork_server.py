"""The fork server ends as soon as nobody needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.engines.local.sites import SitePool

MODULE = """
import atexit, pathlib
pathlib.Path("imported").touch()
atexit.register(lambda: pathlib.Path("interpreter has ended").touch())
"""


def test_the_fork_server_does_not_wait_for_the_interpreters_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "with_exit_handler.py").write_text(MODULE)
    pool = SitePool()
    pool.preload(["with_exit_handler"])
    pool.close(grace_seconds=60)
    assert (tmp_path / "imported").exists()
    assert not (tmp_path / "interpreter has ended").exists()
