"""Every record exactly once after any crash: files torn at every byte, and SIGKILL at random moments."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedtrack import RunInfo
from fedtrack.tracking.records import Metric, Param, Record, Text
from fedtrack_tensorboard import TBAnalyticsReceiver

FEEDER = Path(__file__).with_name("killed_feeder.py")

Feed = Callable[..., None]


def opened(run: RunInfo) -> TBAnalyticsReceiver:
    receiver = TBAnalyticsReceiver()
    receiver.open(run)
    return receiver


def points(folder: Path, read_run: Any) -> Counter[tuple[str, int]]:
    """Every scalar in a site's runs, as (tag, value)."""
    found: Counter[tuple[str, int]] = Counter()
    for run in [folder, *folder.glob("pass-*")]:
        reader = read_run(run)
        for tag in reader.Tags()["scalars"]:
            steps = [event.step for event in reader.Scalars(tag)]
            assert steps == sorted(set(steps))
            found.update((tag, int(event.value)) for event in reader.Scalars(tag))
    return found


def test_a_tear_at_every_byte(run: RunInfo, feed: Feed, read_run: Any) -> None:
    steps = [0, 1, None, 1, 2, 5, 3]
    records: list[Record] = [Metric(n, "x", float(n), step) for n, step in enumerate(steps)]
    records += [Param(8, "lr", 1), Text(9, "t", "text", 0)]
    feed(opened(run), records)
    folder = run.folder / "tb_events/site-1"
    files = sorted(folder.rglob("*tfevents*"))
    assert len(files) == 2
    whole = [file.read_bytes() for file in files]
    for torn, content in zip(files, whole, strict=True):
        for length in range(len(content)):
            for file, data in zip(files, whole, strict=True):
                file.write_bytes(data)
            torn.write_bytes(content[:length])
            feed(opened(run), records)
            assert points(folder, read_run) == Counter(("x", n) for n in range(len(steps)))
            assert sum(len(read_run(each).Tensors("t")) for each in [folder]) == 1
            for file in set(folder.rglob("*tfevents*")) - set(files):
                file.unlink()


def test_what_follows_a_damaged_byte_is_written_again(run: RunInfo, feed: Feed, read_run: Any) -> None:
    records: list[Record] = [Metric(n, "x", float(n), n) for n in range(20)]
    feed(opened(run), records)
    folder = run.folder / "tb_events/site-1"
    (file,) = folder.iterdir()
    data = bytearray(file.read_bytes())
    for at in (7, len(data) // 2, len(data) // 2 + 20, len(data) - 1):  # 7: a length of 2**56 bytes
        data[at] ^= 1
        file.write_bytes(data)
        data[at] ^= 1
        feed(opened(run), records)
        # TensorBoard stops reading a file at such a byte and goes on with the next one.
        assert [event.step for event in read_run(folder).Scalars("x")] == list(range(20))
        for new in set(folder.iterdir()) - {file}:
            new.unlink()


def test_two_sites_whose_process_is_killed_again_and_again(tmp_path: Path, read_run: Any) -> None:
    chance = random.Random(7)
    kills = 0
    for attempt in range(100):
        command = [sys.executable, str(FEEDER), str(tmp_path), str(attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            if kills < 10:
                time.sleep(chance.uniform(0, 0.12))
                process.send_signal(signal.SIGKILL)
        if process.returncode == 0:
            break
        kills += 1
    assert kills >= 5
    expected = Counter((("loss", "accuracy", "step")[n % 3], n) for n in range(12_000) if n % 100)
    for site in ("site-1", "site-2"):
        folder = tmp_path / "tb_events" / site
        assert points(folder, read_run) == expected
        texts = [each.tensor_proto.string_val[0] for each in read_run(folder).Tensors("text")]
        assert texts == [str(n).encode() * 2000 for n in range(0, 12_000, 100)]
