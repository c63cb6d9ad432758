"""Logs 20 losses in each round."""

from rounds import rounds  # type: ignore[import-not-found]  # beside this file, at a site

import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
writer = Writer()
for r in rounds():
    for step in range(20 * r, 20 * r + 20):
        writer.record_metric("loss", 1 / 2 ** (step % 8), step)
