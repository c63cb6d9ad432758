"""Runnable examples of fedtrack, and their common code: images, partitions, a network and a few training helpers.

Each folder with a hyphen in its name is one example, whose files run as scripts. Importing this package is cheap,
because only the modules that need torch import it.
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
    "hello-virtual-sites": "A hundred sites share one process per core; each logs under its own name.",
}


@fedtrack.hookimpl
def fedtrack_examples() -> list[fedtrack.Example]:
    """Return the examples of this distribution."""
    here = Path(__file__).parent
    return [fedtrack.Example(name, summary, here / name) for name, summary in _SUMMARIES.items()]
