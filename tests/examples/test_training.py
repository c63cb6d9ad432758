"""The network learns the digits, the same way every time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from fedtrack_examples import datasets
from fedtrack_examples.image_set import ImageSet
from fedtrack_examples.simple_network import SimpleNetwork
from fedtrack_examples.training import accuracy_of, make_repeatable

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Keep torch from spinning on cores that other tests use; a step on digits has nothing to share out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(site: str, epochs: int = 1, current_round: int = 0) -> SimpleNetwork:
    """Return a network that was trained on all digits, from the same start."""
    torch.manual_seed(0)
    net = SimpleNetwork()
    make_repeatable(1, site, current_round)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(epochs):
        for images, targets in DataLoader(datasets.load("digits"), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return net


def test_a_few_epochs_are_enough_for_the_digits() -> None:
    assert accuracy_of(trained("site-1", epochs=4), datasets.load("digits", train=False)) >= 0.95


def test_training_repeats_bit_by_bit() -> None:
    first, again = trained("site-1").state_dict(), trained("site-1").state_dict()
    assert all(first[name].equal(again[name]) for name in first)
    for other in (trained("site-2"), trained("site-1", current_round=1)):
        assert not all(first[name].equal(value) for name, value in other.state_dict().items())


def test_accuracy_is_the_share_of_right_answers() -> None:
    class Brightness(nn.Module):
        """Says 1 for white images, 0 for black ones."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            level = images.mean(dim=(1, 2, 3)) * self.weight
            return torch.stack([-level, level], dim=1)

    pixels = torch.tensor([0, 255, 255, 0], dtype=torch.uint8).reshape(4, 1, 1, 1)
    net = Brightness()
    assert accuracy_of(net, ImageSet(pixels, torch.tensor([0, 1, 1, 1]))) == 0.75
    assert net.training


def test_the_network_takes_digits_and_photographs() -> None:
    assert SimpleNetwork()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert SimpleNetwork(3, 32, 4)(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
