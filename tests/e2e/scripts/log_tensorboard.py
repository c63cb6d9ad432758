"""Logs everything that a SummaryWriter can log, with and without steps."""

import numpy as np
from rounds import rounds  # type: ignore[import-not-found]  # beside this file, at a site

import fedtrack.client as flare
from fedtrack.client.tracking import SummaryWriter

flare.init()
with SummaryWriter() as writer:
    writer.add_hparams({"lr": 0.5, "optimizer": "sgd"}, {"hparam/accuracy": 0.25})
    for r in rounds():
        for step in range(20 * r, 20 * r + 20):
            writer.add_scalar("train/loss", 1 / 2 ** (step % 8), step)
            writer.add_scalars("both", {"a": step / 8, "b": -step / 8}, step)
        writer.add_scalar("stepless", r / 4)
        writer.add_text("note", f"round {r}", r)
        writer.add_image("pixels", np.full((3, 2, 2), r / 2), r)
        writer.add_histogram("weights", np.arange(10 + r), r, bins=5)
