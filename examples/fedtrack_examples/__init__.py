"""Runnable examples of fedtrack, and what they share: images, partitions, a network and a few training helpers.

Each folder with a hyphen in its name is one example, run as scripts. Importing this package is cheap: torch is
imported by the modules that need it, never here.
"""

from __future__ import annotations

from pathlib import Path

import fedtrack

_SUMMARIES = {
    "hello-cross-val": "After the training, every site scores every site's best model on its own images.",
    "hello-numpy": "The smallest job: a model of numpy arrays, tracked with MLflow, without torch.",
    "hello-pt-mlflow": "Sites log like MLflow, the server writes MLflow and TensorBoard.",
    "hello-pt-mlflow-client": "Every site writes to an MLflow of its own; no metric leaves a site.",
    "hello-pt-tensorboard": "Sites log like torch's SummaryWriter; TensorBoard needs no configuration.",
    "hello-pt-wandb": "Sites log like W&B; the server, the sites or both write to Weights & Biases.",
    "hello-virtual-sites": "A hundred sites share a process for each core; what they log stays apart.",
}


@fedtrack.hookimpl
def fedtrack_examples() -> list[fedtrack.Example]:
    """Return the examples of this distribution."""
    here = Path(__file__).parent
    return [fedtrack.Example(name, summary, here / name) for name, summary in _SUMMARIES.items()]
