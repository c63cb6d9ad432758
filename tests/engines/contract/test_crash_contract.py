"""What every engine promises when a site's process is killed and another one's spool is damaged."""

from __future__ import annotations

import pytest

from fedtrack.engines.engine import RunState
from fedtrack.tracking.records import Metric

from .conftest import Ended, Site, export, run

SCRIPT = """
import os, pathlib, signal, tempfile
import fedtrack.client as flare
from fedtrack.tracking.records import Metric
from fedtrack.tracking.spool import Spool
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
step = 0


def damaged_stream():
    # Written elsewhere and moved in whole, so that no reader sees it before it is damaged.
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(pathlib.Path(folder))
        for number in range(10):
            spool.append(Metric(0, "other", float(number), number))
        spool.close()
        path = next(pathlib.Path(folder).glob("*.spool"))
        data = bytearray(path.read_bytes())
        data[52 + (len(data) - 52) // 2] ^= 0xFF
        (writer._log.folder / ".new").write_bytes(data)
        (writer._log.folder / ".new").rename(writer._log.folder / path.name)


while flare.is_running():
    model = flare.receive()
    for _ in range(50):
        writer.record_metric("loss", 1 / (step + 1), step)
        step += 1
    if flare.get_site_name() == "site-1" and model.current_round == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if flare.get_site_name() == "site-2" and model.current_round == 0:
        damaged_stream()
    flare.send(flare.FLModel(params=model.params, meta={"NUM_STEPS_CURRENT_ROUND": 50}))
"""


@pytest.fixture(scope="module")
def ended(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    folder = tmp_path_factory.mktemp("crash")
    return run(site, export(folder, SCRIPT, external=True), folder / "results")


def steps(ended: Ended, site: str, key: str) -> list[int | None]:
    return [r.step for _, _, r in ended.events[site] if isinstance(r, Metric) and r.key == key]


def test_run_fails_and_says_so(ended: Ended) -> None:
    assert ended.status.state is RunState.FAILED
    assert ended.result.status == "failed"
    assert "site-1" in ended.result.error


def test_killed_script_loses_nothing_that_it_logged(ended: Ended) -> None:
    assert steps(ended, "site-1", "loss") == list(range(100))
    assert ended.result.sites["site-1"].journaled == 100


def test_damage_is_a_recorded_gap_and_stops_nothing(ended: Ended) -> None:
    assert len(steps(ended, "site-2", "other")) == 9
    assert [site for site, _ in ended.result.gaps] == ["site-2"]
    assert "damaged bytes" in ended.result.gaps[0][1]
    assert steps(ended, "site-2", "loss")[:50] == list(range(50))


def test_damaged_events_are_not_called_complete(ended: Ended) -> None:
    assert ended.status.events_complete is False
    assert not ended.result.events_complete
