"""Logs 20,000 metrics, about 2 MB in a spool, and sends the model back unchanged."""

import fedtrack.client as flare
from fedtrack.client.tracking import SummaryWriter

flare.init()
writer = SummaryWriter()
while flare.is_running():
    model = flare.receive()
    for step in range(20_000):
        writer.add_scalar("a metric with a rather long name to fill the disk", float(step), step)
    flare.send(flare.FLModel(params=model.params))
