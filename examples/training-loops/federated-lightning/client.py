"""A site: `patch` lets the Trainer receive the global model and send what it has trained."""

import sys
from pathlib import Path

import lightning as pl

import fedtrack_lightning as flare
from fedtrack_lightning import FedtrackLogger

sys.path.insert(0, str(Path(__file__).parent))
from model import Net, digits


def main() -> None:
    """Train one epoch in each round."""
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    flare.patch(trainer)
    trainer.logger = FedtrackLogger()
    net, site = Net(), int(flare.get_site_name().rpartition("-")[2])
    training, held_out = digits(700 * (site - 1), 700 * site), digits(1400, 1797)
    while flare.is_running():
        trainer.validate(net, held_out, verbose=False)  # the global model
        trainer.fit(net, training)


if __name__ == "__main__":
    main()
