"""Fits a line to this site's points, beginning with the average of all sites."""

from __future__ import annotations

import numpy as np

import fedtrack.client as flare
from fedtrack.client.tracking import MLflowWriter

STEPS = 20

flare.init()
mlflow = MLflowWriter()

# Each site has measured a different part of the same line.
number = int(flare.get_site_name().removeprefix("site-"))
random = np.random.default_rng(number)
x = random.uniform(number - 1, number, 50)
y = 3 * x - 1 + random.normal(0, 0.1, 50)

while flare.is_running():
    model = flare.receive()
    slope, intercept = model.params["slope"], model.params["intercept"]
    score = float(np.mean((slope * x + intercept - y) ** 2))
    for step in range(STEPS):
        error = slope * x + intercept - y
        mlflow.log_metric("loss", float(np.mean(error**2)), model.current_round * STEPS + step)
        slope = slope - 0.1 * np.mean(error * x)
        intercept = intercept - 0.1 * np.mean(error)
    params = {"slope": slope, "intercept": intercept}
    flare.send(flare.FLModel(params=params, metrics={"loss": score}, meta={"NUM_STEPS_CURRENT_ROUND": STEPS}))
