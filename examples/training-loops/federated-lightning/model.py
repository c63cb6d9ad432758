"""The module that every site trains, and its data."""

import lightning as pl
import torch
from sklearn.datasets import load_digits
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    """A linear classifier of the digits."""

    def __init__(self, lr: float = 0.05):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(64, 10)

    def training_step(self, batch, index):
        """Log the loss of each batch."""
        loss = functional.cross_entropy(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, index):
        """Log the accuracy of the epoch."""
        self.log("val_accuracy", (self.net(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        """Return the optimizer."""
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def digits(first: int, last: int, **options) -> DataLoader:
    """Return some of the 1,797 images that come with scikit-learn."""
    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images[first:last] / 16, dtype=torch.float32)
    return DataLoader(TensorDataset(pixels, torch.tensor(labels[first:last])), batch_size=100, **options)
