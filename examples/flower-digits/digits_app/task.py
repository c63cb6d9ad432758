"""Task: the model and the data; nothing here knows Flower or fedtrack's backends."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def new_model() -> nn.Module:
    """Return a small network for images of 8 x 8 pixels."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def load(partition: int, partitions: int) -> tuple[DataLoader, DataLoader]:
    """Return the training and the test images of one node."""
    digits = load_digits()
    pixels = torch.tensor(digits.data[partition::partitions] / 16, dtype=torch.float32)
    labels = torch.tensor(digits.target[partition::partitions])
    train, test = random_split(TensorDataset(pixels, labels), [0.8, 0.2], torch.Generator().manual_seed(1))
    return DataLoader(train, batch_size=32, shuffle=True), DataLoader(test, batch_size=256)


def train(model: nn.Module, loader: DataLoader, epochs: int, writer, first_step: int) -> float:
    """Train the model and log the loss of every batch, the first one as ``first_step``; return the last one."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    step, loss = first_step, torch.tensor(0.0)
    for _ in range(epochs):
        for pixels, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(pixels), labels)
            loss.backward()
            optimizer.step()
            writer.add_scalar("loss", loss, step)
            step += 1
    return float(loss)


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """Return the share of the images that the model knows."""
    with torch.no_grad():
        right = sum(int((model(pixels).argmax(1) == labels).sum()) for pixels, labels in loader)
    return right / len(loader.dataset)
