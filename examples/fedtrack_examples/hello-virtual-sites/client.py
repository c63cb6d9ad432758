"""The work of one site as two functions, which a few processes call for all sites in turn."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from fedtrack.client import ClientApp, FLModel, SiteContext
from fedtrack.client.tracking import SummaryWriter
from fedtrack_examples.data_choice import DataChoice
from fedtrack_examples.training import accuracy_of

from model import SimpleNetwork

app = ClientApp()

EPOCHS = 4


@cache
def images_of(site: str, total: int, **choice: Any) -> tuple[Any, Any]:
    """Return the site's training images and its share of the test images."""
    train, test = DataChoice(n_sites=total, **choice).load(site)
    index = int(site.removeprefix("site-")) - 1
    return train, Subset(test, range(index % len(test), len(test), total))


@app.train
def train(model: FLModel, site: SiteContext) -> FLModel:
    """Train the received model on the site's images, and log as a script would."""
    train_images, test_images = images_of(site.name, site.total, **site.args)
    net = SimpleNetwork()
    net.load_state_dict(model.params)
    accuracy = accuracy_of(net, test_images)

    writer = SummaryWriter()
    writer.add_scalar("accuracy", accuracy, model.current_round)
    # Kept from one round to the next, because another process may do the site's next round.
    site.state["rounds"] = site.state.get("rounds", 0) + 1
    writer.add_scalar("rounds_trained", site.state["rounds"], model.current_round)

    steps = 0
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for _ in range(EPOCHS):
        for images, targets in DataLoader(train_images, batch_size=8, shuffle=True):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(images), targets)
            loss.backward()
            optimizer.step()
            steps += 1
    writer.add_scalar("train_loss", loss.item(), model.current_round)
    return FLModel(params=net.state_dict(), metrics={"accuracy": accuracy}, meta={"NUM_STEPS_CURRENT_ROUND": steps})


@app.evaluate
def evaluate(model: FLModel, site: SiteContext) -> dict[str, float]:
    """Score the received model on the site's share of the test images."""
    net = SimpleNetwork()
    net.load_state_dict(model.params)
    return {"accuracy": accuracy_of(net, images_of(site.name, site.total, **site.args)[1])}


if __name__ == "__main__":
    app.run()
