"""Logs everything that a WandBWriter can log, with and without steps."""

from rounds import rounds  # type: ignore[import-not-found]  # beside this file, at a site

import fedtrack.client as flare
from fedtrack.client.tracking import WandBWriter

flare.init()
writer = WandBWriter()
for r in rounds():
    for step in range(20 * r, 20 * r + 20):
        writer.log({"train/loss": 1 / 2 ** (step % 8), "both": {"a": step / 8, "b": -step / 8}}, step)
    writer.log({"stepless": r / 4})
    writer.log({"note": f"round {r}"}, step=r)
