"""A script that is killed at site-1 in round 1; at site-2 it leaves a damaged stream in round 0."""

import os
import pathlib
import signal
import tempfile

import fedtrack.client as flare
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Metric
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
