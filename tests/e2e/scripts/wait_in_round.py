"""Logs 20 steps a round; in the second round it waits, after logging, until a file exists."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import fedtrack.client as flare
from fedtrack.client.tracking import MLflowWriter

flare.init()
writer = MLflowWriter()
go = Path(sys.argv[1])
while flare.is_running():
    model = flare.receive()
    for step in range(20):
        writer.log_metric("loss", 1 / (step + 1), model.current_round * 20 + step)
    while model.current_round == 1 and not go.exists():
        time.sleep(0.05)
    flare.send(flare.FLModel(params=model.params, meta={"NUM_STEPS_CURRENT_ROUND": 20}))
