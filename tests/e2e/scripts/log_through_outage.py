"""Logs 3,000 losses while all is well, 3,000 during an outage, 1,000 after it, and times the calls.

The test marks the begin and the end of the outage with files in a folder, which is the only argument.
"""

import json
import sys
from pathlib import Path
from time import monotonic, perf_counter_ns, sleep

import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

folder = Path(sys.argv[1])
flare.init()
writer = Writer()
site = flare.get_site_name()


def log(steps: range) -> list[int]:
    taken = []
    for step in steps:
        begun = perf_counter_ns()
        writer.record_metric("loss", 1 / 2 ** (step % 8), step)
        taken.append(perf_counter_ns() - begun)
        if step % 20 == 0:
            sleep(0.002)
    return taken


def wait_for(name: str) -> None:
    deadline = monotonic() + 200
    while not (folder / name).exists() and monotonic() < deadline:
        sleep(0.05)


while flare.is_running():
    model = flare.receive()
    times = {"healthy": log(range(3000))}
    wait_for("down")
    times["outage"] = log(range(3000, 6000))
    (folder / f"logged-{site}").touch()
    wait_for("up")
    log(range(6000, 7000))
    (folder / f"times-{site}.json").write_text(json.dumps(times))
    flare.send(flare.FLModel(params=model.params))
