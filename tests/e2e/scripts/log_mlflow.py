"""Logs everything that an MLflowWriter can log, with and without steps."""

from pathlib import Path

from rounds import rounds  # type: ignore[import-not-found]  # beside this file, at a site

import fedtrack.client as flare
from fedtrack.client.tracking import MLflowWriter

flare.init()
writer = MLflowWriter()
writer.log_param("lr", 0.5)
writer.log_params({"optimizer": "sgd", "epochs": 2})
writer.set_tag("team", "red")
writer.set_tags({"phase": "warm-up", "gpu": False})
Path("weights.bin").write_bytes(bytes(range(256)))
for r in rounds():
    for step in range(20 * r, 20 * r + 20):
        writer.log_metric("train/loss", 1 / 2 ** (step % 8), step)
        writer.log_metrics({"both/a": step / 8, "both/b": -step / 8}, step)
    writer.log_metric("stepless", r / 4)
    writer.log_text(f"round {r}", f"note-{r}.txt")
    writer.log_dict({"round": r}, f"state-{r}.json")
    writer.log_artifact("weights.bin", f"models/{r}")
