"""A fedtrack receiver in a job whose other parts, script included, are FLARE's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pyarrow.parquet
import pytest
from nvflare.apis.analytix import AnalyticsData, AnalyticsDataType

from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.errors import ConfigError
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.testing import MemoryLog
from fedtrack.tracking.records import Metric, Param, Rejected, Tag, Text, decode
from fedtrack.tracking.writer import Writer
from fedtrack_nvflare import ReceiverBridge
from fedtrack_nvflare.bridge import record
from fedtrack_nvflare.engine import flare_version
from fedtrack_nvflare.simulator import simulator_command
from support.nvflare_system import SITES

JOB = """
from fedtrack_nvflare import ReceiverBridge
from nvflare.app_common.widgets.convert_to_fed_event import ConvertToFedEvent
from nvflare.app_common.workflows.fedavg import FedAvg
from nvflare.fuel.utils.constants import FrameworkType
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import ScriptRunner

job = FedJob(name="flare-job", min_clients=2)
job.set_app_packages(["fedtrack_nvflare"])
job.to_server(FedAvg(num_clients=2, num_rounds=2, persistor_id="", model={"w": [0.0]}, save_filename="model.bin"))
job.to_server(ReceiverBridge(receiver="tensorboard", args={"tb_folder": "events"}), id="bridge")
job.to_server(ReceiverBridge(receiver="parquet"), id="another")
job.to_clients(ScriptRunner("script.py", framework=FrameworkType.RAW))
job.to_clients(ConvertToFedEvent(events_to_convert=["analytix_log_stats"]), id="event_to_fed")
job.export_job("jobs")
"""

SCRIPT = """
import nvflare.client as flare
from nvflare.client.tracking import SummaryWriter

flare.init()
writer = SummaryWriter()
while flare.is_running():
    model = flare.receive()
    for step in range(10):
        writer.add_scalar("loss", 1.0 / (step + 1), model.current_round * 10 + step)
    flare.send(flare.FLModel(params=model.params, metrics={"accuracy": 1.0}))
"""


def test_flare_job_feeds_receivers(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "script.py").write_text(SCRIPT)
    subprocess.run([sys.executable, "job.py"], cwd=tmp_path, check=True, timeout=60, capture_output=True)
    command = simulator_command(tmp_path / "jobs" / "flare-job", tmp_path / "ws", list(SITES))
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    results = tmp_path / "ws" / "server" / "simulate_job"
    assert (results / "fedtrack-tensorboard").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    for name in ("tensorboard", "parquet"):
        journal = Journal(results / f"fedtrack-{name}" / "journal.db")
        found = {site: [] for site in SITES}
        for batch in journal.read(0):
            found[batch.site] += [decode(payload) for _, payload in frames.split(batch.body)]
        ledger = Ledger(journal.path.with_name(LEDGER_FILE), journal, read_only=True)
        delivered = ledger.cursors()["receiver"].delivered
        ledger.close()
        journal.close()
        arrived = {site: sorted(record.step for record in records) for site, records in found.items()}
        # FLARE promises neither order nor arrival. Since 2.9 so few, so slowly logged, all arrive; an older one drops
        # an event that is no younger than the one before it.
        if flare_version() >= "2.9":
            assert arrived == {site: list(range(20)) for site in SITES}
        assert all(set(steps) <= set(range(20)) and steps for steps in arrived.values())
        assert delivered == sum(map(len, arrived.values()))
    assert list((results / "fedtrack-tensorboard" / "events" / "site-1").glob("events.out.tfevents*"))
    table = pyarrow.parquet.read_table(results / "fedtrack-parquet" / "parquet")  # somebody else's receiver
    assert table.num_rows == delivered
    assert set(table["site"].to_pylist()) == set(SITES)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("SCALAR", 1.0, [Metric(0, "k", 1.0, 3)]),
        ("METRIC", 1, [Metric(0, "k", 1.0, 3)]),
        ("SCALARS", {"a": 1.0, "b": 2.0}, [Metric(0, "k/a", 1.0, 3), Metric(0, "k/b", 2.0, 3)]),
        ("METRICS", {"a": 1.0}, [Metric(0, "a", 1.0, 3)]),
        ("PARAMETER", 0.1, [Param(0, "k", 0.1)]),
        ("PARAMETERS", {"lr": 0.1}, [Param(0, "lr", 0.1)]),
        ("TEXT", "words", [Text(0, "k", "words", 3)]),
        ("TAG", "blue", [Tag(0, "k", "blue")]),
        ("TAGS", {"a": "b"}, [Tag(0, "a", "b")]),
    ],
)
def test_every_kind_of_flare_has_a_record(kind: str, value: object, expected: list[object], tmp_path: Path) -> None:
    log = MemoryLog(tmp_path)
    record(Writer(log), AnalyticsData("k", value, AnalyticsDataType[kind], global_step=3))
    assert [msgspec.structs.replace(found, time_ns=0) for found in log.records] == expected


def test_what_has_no_record_is_counted(tmp_path: Path) -> None:
    log = MemoryLog(tmp_path)
    record(Writer(log), AnalyticsData("k", object(), AnalyticsDataType.MODEL))
    assert isinstance(log.records[0], Rejected)


def test_no_secret_in_a_flare_configuration() -> None:
    with pytest.raises(ConfigError, match="secret"):
        ReceiverBridge("mlflow", {"token": "abc"})
