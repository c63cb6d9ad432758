"""A run whose sites have a policy: nothing denied is anywhere but in the site's own output, and all is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.policy.policy import digest
from fedtrack.runs.release_logs import find_logs
from fedtrack.runs.stored_run import find_run
from fedtrack.runs.stored_tally import tally_of
from fedtrack.seals.release_log import read_lines
from fedtrack.tracking.records import Metric

from .conftest import CLIENT, MakeJob
from .test_local_run import metrics_of

CANARY = "4711081500992233"
POLICY = (
    b'{"allow": [{"key": "train/loss", "every": "round", "sig": 2}, {"key": "accuracy", "sig": 2}], "params": ["lr"]}'
)

TRAIN = f"""
    from fedtrack.client.tracking import MLflowWriter
    from pathlib import Path
    log = MLflowWriter()
    for number in range(10):
        log.log_metric("train/loss", 0.123456 + number)
    log.log_metric("age", float({CANARY}))
    log.log_metric("train/loss", "{CANARY}x")
    log.log_param("lr", 0.5)
    log.log_param("patient", "{CANARY}")
    log.set_tag("patient", "{CANARY}")
    log.log_text("{CANARY}", "a.txt")
    log.log_dict({{"a": "{CANARY}"}}, "b.json")
    if model.current_round == 1 and flare.get_site_name() == "site-2":
        raise ValueError("{CANARY}")
"""


SCRIPT = CLIENT.replace("model.current_round / 10}", f'0.98765, "age": float({CANARY})}}').replace(
    '_ROUND": 50}', f'_ROUND": 50, "patient": "{CANARY}"}}'
)


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "owner" / "policy.json"
    path.parent.mkdir()
    path.write_bytes(POLICY)
    monkeypatch.setenv("FEDTRACK_POLICY", str(path))
    return path


@pytest.mark.slow
def test_a_policy_holds_from_the_log_call_to_the_summary(make_job: MakeJob, tmp_path: Path, policy: Path) -> None:
    result = make_job(TRAIN, script=SCRIPT, min_clients=1).simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    one, two = result.sites["site-1"], result.sites["site-2"]
    assert [m.value for m in metrics_of(result.folder, "site-1") if m.key == "train/loss"] == [0.12, 0.12]
    # A round: a loss, a rejection and the lr are stored; the template's fifty, nine losses and five more are not.
    assert (one.logged, one.journaled, one.rejected, one.withheld, one.lost) == (6, 6, 2, 128, 0)
    assert one.complete
    assert two.withheld == 128
    assert "ValueError" in two.error
    assert result.rounds[0].metrics == {"accuracy": 0.99}
    for path in (path for path in (tmp_path / "ws").rglob("*") if path.is_file() and path.name != "log.txt"):
        assert CANARY.encode() not in path.read_bytes() or path.name == "client.py", path
    stored = find_run(tmp_path / "ws")
    assert tally_of(stored).sites["site-1"].withheld == 128
    assert result.policies["site-1"] == f"sha256:{digest(POLICY)}"
    lines, _ = read_lines(find_logs(tmp_path / "ws")["site-1"].read_bytes(), "x")
    assert lines[0].policy == f"sha256:{digest(POLICY)}"
    assert sum(item.count for line in lines for item in line.released if item.kind == "metric") == 2


@pytest.mark.slow
def test_sites_that_share_workers_have_counts_of_their_own(
    make_virtual_job: MakeJob, tmp_path: Path, policy: Path
) -> None:
    train = f"""
    from fedtrack.client import log
    log("train/loss", 0.123456)
    log("train/loss", 0.2)
    log("age", float({CANARY}))
    """
    result = make_virtual_job(train, n_clients=3).simulator_run(tmp_path / "ws")
    for site in ("site-1", "site-2", "site-3"):
        found = result.sites[site]
        assert (found.withheld, found.lost) == (6, 0)  # the template logs once a round, too
        assert found.complete
        kept: list[Metric] = [m for m in metrics_of(result.folder, site) if m.key == "train/loss"]
        assert [m.value for m in kept] == [0.12, 0.12]


def test_a_policy_that_cannot_be_read_stops_nothing_and_releases_nothing(
    make_job: MakeJob, tmp_path: Path, policy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy.write_bytes(b"{")
    result = make_job(n_clients=1, num_rounds=1).simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    found = result.sites["site-1"]
    assert (found.logged, found.withheld) == (0, 50)
    assert found.complete
    assert "nothing that it logs is released" in caplog.text
    journal = Journal(result.folder / "journal.db", read_only=True)
    assert journal.counts().get("site-1") is None
    journal.close()
