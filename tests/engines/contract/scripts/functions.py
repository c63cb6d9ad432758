"""A ClientApp, run as the script of each site."""

import numpy as np

from fedtrack.client import ClientApp, FLModel
from fedtrack.tracking.writer import Writer

app = ClientApp()


@app.train
def train(model, site):
    writer = Writer()
    site.state["rounds"] = site.state.get("rounds", 0) + 1
    writer.record_metric("index", float(site.index), model.current_round)
    writer.record_metric("total", float(site.total), model.current_round)
    writer.record_metric("rounds", float(site.state["rounds"]), model.current_round)
    writer.record_metric("random", float(np.random.random()), model.current_round)
    return FLModel(params={name: value + site.index + 1 for name, value in model.params.items()})


if __name__ == "__main__":
    app.run()
