"""Trains, logs, and logs once more after the last task."""

import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
step = 0
while flare.is_running():
    model = flare.receive()
    for _ in range(50):
        writer.record_metric("loss", 1 / (step + 1), step)
        step += 1
    writer.record_text("note", flare.get_site_name() * 20_000, step)
    flare.send(
        flare.FLModel(
            params={name: value + 1 for name, value in model.params.items()},
            metrics={"accuracy": model.current_round / 10},
            meta={"NUM_STEPS_CURRENT_ROUND": 50},
        )
    )
writer.record_metric("tail", 1.0, step)
