"""A job whose sites are functions, and its results."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fedtrack.job import FedAvgJob
from fedtrack.runs.result import RunResult
from fedtrack_local.models.params import load_params

APP = """
import os, signal, sys, time
import numpy as np
import fedtrack.client as flare
from fedtrack.client import ClientApp, FLModel, MetaKey
from fedtrack.tracking.writer import Writer

app = ClientApp()

@app.train
def train(model, site):
    writer = Writer()
    writer.record_metric("index", float(site.index), model.current_round)
    TRAIN
    steps = 1 + site.index % 3
    return FLModel(
        params={"w": model.params["w"] + np.float32(site.index + 1), "n": model.params["n"] + 1},
        metrics={"index": site.index},
        meta={MetaKey.NUM_STEPS_CURRENT_ROUND: steps},
    )

@app.evaluate
def evaluate(model, site):
    return {"mean": float(model.params["w"].mean())}

if __name__ == "__main__":
    app.run(args={"rate": 0.5})
"""


MakeJob = Callable[..., FedAvgJob]


def model_of(workspace: Path) -> dict[str, Any]:
    return load_params(workspace / "server" / "simulate_job" / "app_server" / "FL_global_model.safetensors")


def journal_of(workspace: Path) -> dict[str, int]:
    with sqlite3.connect(workspace / "server" / "simulate_job" / "journal.db") as connection:
        rows = connection.execute("SELECT site, sum(n) FROM batch GROUP BY site").fetchall()
    connection.close()
    return dict(rows)


def summary_of(workspace: Path) -> RunResult:
    return RunResult.load(workspace / "server" / "simulate_job" / "run_summary.json")
