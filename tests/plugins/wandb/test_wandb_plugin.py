"""The entry point, the arguments, and the small parts of the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from wandb.proto.wandb_internal_pb2 import HistoryRecord, Record

from fedtrack import Batch
from fedtrack.errors import ConfigError
from fedtrack.plugins import registry
from fedtrack.tracking.records import Metric, Param, Tag
from fedtrack_wandb import names, rows
from fedtrack_wandb.receiver import WandBReceiver
from fedtrack_wandb.redelivery import Progress
from fedtrack_wandb.transaction_log import BLOCK, TransactionLog
from fedtrack_wandb.writer import WandBWriter

from .conftest import STREAM

FLARE_NAME = "nvflare.app_opt.tracking.wandb.wandb_receiver.WandBReceiver"


def test_the_installed_plugin_is_found() -> None:
    found = registry()
    assert found.receiver("wandb") is WandBReceiver
    assert found.receiver(FLARE_NAME) is WandBReceiver
    assert found.writer("WandBWriter") is WandBWriter
    assert found.owner("receiver", "wandb").package == "fedtrack-wandb"


def test_finding_and_building_it_imports_no_sdk() -> None:
    program = (
        "import sys; from fedtrack.plugins import registry; r = registry().receiver('wandb'); "
        "r(wandb_args={'project': 'p'}); sys.exit('wandb' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_arguments_may_be_positional_in_flares_order() -> None:
    receiver = WandBReceiver({"project": "p"}, "online", process_timeout=3)
    assert (receiver.args.project, receiver.options.mode, receiver.options.process_timeout) == ("p", "online", 3.0)
    assert receiver.options.events is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wandb_args": {"projekt": "p"}}, "no key 'projekt'; valid keys: project, name, group"),
        ({"wandb_args": {"project": "a/b"}}, "project"),
        ({"wandb_args": {"tags": [""]}}, "tags"),
        ({"wandb_args": {"tags": ["x" * 65]}}, "tags"),
        ({"wandb_args": {"config": [1]}}, "config"),
        ({"mode": "shared"}, "mode"),
        ({"process_timeout": 0}, "process_timeout"),
        ({"timeout": 1}, "valid arguments: events, wandb_args, mode, process_timeout"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WandBReceiver(**options)


@pytest.mark.parametrize(
    "key",
    [
        "loss",
        "_step",
        "a*b",
        "\0",
        "-",
        "--x--",
        "%5Fstep",
        "5%",
        "%%41",
        "é/ü\n",
        "global_step",
        "tags/a*",
        "fedtrack",
    ],
)
def test_encoded_keys_can_be_decoded(key: str) -> None:
    for encoded in (names.encode(key), names.encode_axis(key), names.encode_setting(key)):
        assert names.decode(encoded) == key
        assert not set(encoded) & {"*", "\0", "\n"}


def test_settings_do_not_collide() -> None:
    keys = [rows.setting(record)[0] for record in (Param(0, "tags/a", 1), Tag(0, "a", "x"), Param(0, "fedtrack", 1))]
    assert keys == ["%74ags/a", "tags/a", "%66edtrack"]


@pytest.mark.parametrize("path", ["../../x", "/etc/x", "a//../b", ".", "..", ""])
def test_a_path_cannot_lead_out_of_its_folder(path: str) -> None:
    assert (Path("/files") / names.encode_path(path)).resolve().is_relative_to("/files")
    assert names.encode_path(path) not in ("", ".")


def test_run_ids_are_stable_distinct_and_legal() -> None:
    sites = ["site-1", "site_1", "site 1", "site/1", "site:1", "é", "", "x" * 200, "x" * 201]
    ids = [names.run_id("r" * 64, site) for site in sites]
    assert ids == [names.run_id("r" * 64, site) for site in sites]
    assert len(set(ids)) == len(sites)
    assert all(len(run_id) <= 128 and not set(run_id) & set(":;,#?/' ") for run_id in ids)
    assert ids[0] == "r" * 64 + "-site-1"


def test_a_refusal_is_reported_once_even_if_the_batch_failed_first() -> None:
    progress = Progress()
    records = [Metric(i, "a", i) for i in range(4)]
    first = Batch("site-1", STREAM, (3, 5, 8, 9), records)
    progress.refused[5] = "no image"
    progress.advance(first, 2)  # and then a Transient: nothing was reported

    again = Batch("site-1", STREAM, (5, 8, 9), records[1:])
    assert progress.unseen(again) == [2]
    assert progress.report(again) == {0: "no image"}
    assert progress.report(again) == {}


def test_the_file_is_read_as_it_grows(tmp_path: Path) -> None:
    """At whatever byte the writer has stopped: rows that are complete count, and count once."""
    content = _dot_wandb(rows=12, size=3000)
    file = tmp_path / "run.wandb"
    for stride in (1000, 4093, BLOCK, len(content)):
        log = TransactionLog(file)
        counts = []
        for end in [*range(0, len(content), stride), len(content)]:
            file.write_bytes(content[:end])
            counts.append(log.update())
        assert counts == sorted(counts)
        assert counts[-1] == 12


def test_a_damaged_file_is_read_up_to_the_damage(tmp_path: Path) -> None:
    content = bytearray(_dot_wandb(rows=12, size=3000))
    content[145_000] ^= 1
    (tmp_path / "run.wandb").write_bytes(content)
    assert 0 < TransactionLog(tmp_path / "run.wandb").update() < 12


def test_flushed_rows_survive_the_death_of_everything(tmp_path: Path) -> None:
    """Kill a receiver's process and its wandb-core at once, right after a flush."""
    program = f"""
import os, signal
from pathlib import Path
from tests.plugins.wandb.conftest import batch, core_pids
from fedtrack import RunInfo
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric, Param, Tag
from fedtrack_wandb.receiver import WandBReceiver
folder = Path({str(tmp_path)!r})
receiver = WandBReceiver()
receiver.open(RunInfo("r", "job", folder, "server", (), 0, BlobStore(folder)))
receiver.receive(batch(*(Metric(i, "v", i, i) for i in range(500))))
receiver.flush()
(core,) = core_pids()
os.kill(core, signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", program], cwd=root, env=os.environ, timeout=60, check=False)
    (file,) = tmp_path.glob("wandb/offline-run-*/run-r-site-1.wandb")
    assert TransactionLog(file).update() == 500


def _dot_wandb(rows: int, size: int) -> bytes:
    """Return a file as wandb-core writes it: records cut into chunks at the ends of blocks of 32 KiB."""
    data = b":W&B\xe1\xbe\x00"
    for number in range(rows):
        history = HistoryRecord()
        history.item.add(key="x", value_json="1" * (size * number))
        payload = Record(history=history).SerializeToString()
        first = True
        while payload or first:
            left = BLOCK - len(data) % BLOCK
            if left < 7:
                data += bytes(left)
                continue
            chunk, payload = payload[: left - 7], payload[left - 7 :]
            kind = (1 if first else 4) if not payload else (2 if first else 3)
            header = zlib.crc32(bytes([kind]) + chunk).to_bytes(4, "little") + len(chunk).to_bytes(2, "little")
            data += header + bytes([kind]) + chunk
            first = False
    return data
