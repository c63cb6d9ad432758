"""NVFlareBackend: the rank of a script's process is FLARE's rank, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nvflare.client
import pytest

from fedtrack.errors import ConfigError
from fedtrack.tracking import bind
from fedtrack_nvflare.backend import NVFlareBackend, SiteRun, read_left


@pytest.mark.parametrize(
    ("given", "environment", "rank"), [(None, None, "0"), (None, "2", "2"), (1, None, "1"), (0, "2", "0")]
)
def test_the_rank_of_the_script_is_the_rank_in_flare(
    given: int | None, environment: str | None, rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[Any] = []
    monkeypatch.setattr(nvflare.client, "init", lambda rank: joined.append(rank))
    monkeypatch.delenv("RANK", raising=False)
    if environment is not None:
        monkeypatch.setenv("RANK", environment)
    run = SiteRun("site-1", "r1", str(tmp_path / "spool"), "client.py", [], {}, in_process=False)
    backend = NVFlareBackend(run, given)
    try:
        assert joined == [rank]
        backend.take_rank(int(rank))
        with pytest.raises(ConfigError, match=f"after this process joined FLARE as rank {rank}"):
            backend.take_rank(int(rank) + 1)
        if rank != "0":
            assert backend.task_name == ""
        backend.leave()  # its log calls count as the site's
        left = read_left(tmp_path / "spool")
        assert left is not None
        assert (left.logged, left.dropped) == (0, 0)
    finally:
        bind(None)
