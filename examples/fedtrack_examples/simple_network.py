"""SimpleNetwork: a network for small images; ``hello-pt-mlflow/model.py`` has a copy of it."""

from __future__ import annotations

from torch import Tensor, nn


class SimpleNetwork(nn.Module):
    """Two convolutions and two linear layers; the defaults fit the digits."""

    def __init__(self, channels: int = 1, size: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 16, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(32 * (size // 4) ** 2, 64),
            nn.ReLU(),
            nn.Linear(64, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return one score per class, shape (n, classes), for images of shape (n, channels, size, size)."""
        scores: Tensor = self.classifier(self.features(images))
        return scores
