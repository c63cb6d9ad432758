"""Trains on this site's images, scores the models that the server sends, and submits its own best one.

The server sends three kinds of task: train, evaluate, and submit a model. Each has a branch of its own below.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

import fedtrack.client as flare
from fedtrack.client.tracking import SummaryWriter
from fedtrack_examples import data_choice
from fedtrack_examples.training import accuracy_of, make_repeatable

from model import SimpleNetwork


def main() -> None:
    """Do the server's tasks until there are no more."""
    parser = data_choice.parser()
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4, help="how often a round goes through the site's images")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate of SGD")
    args = parser.parse_args()

    flare.init()
    site = flare.get_site_name()
    data = data_choice.DataChoice.from_args(args)
    # Models are scored on images that only this site has: a fifth of its images is never used for training.
    images, _ = data.load(site)
    held_back = Subset(images, range(0, len(images), 5))
    train_images = Subset(images, [index for index in range(len(images)) if index % 5])
    batches = DataLoader(train_images, batch_size=args.batch_size, shuffle=True)
    steps_per_round = args.epochs * len(batches)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = SimpleNetwork(*data.shape()).to(device)
    loss_of = nn.CrossEntropyLoss()
    best_accuracy, best_params = -1.0, None

    writer = SummaryWriter()

    while flare.is_running():
        received = flare.receive()

        if flare.is_submit_model():
            flare.send(flare.FLModel(params=best_params))
            continue

        net.load_state_dict(received.params)
        accuracy = accuracy_of(net, held_back)
        if flare.is_evaluate():
            flare.send(flare.FLModel(metrics={"accuracy": accuracy}))
            continue

        step = received.current_round * steps_per_round
        writer.add_scalar("accuracy", accuracy, step)
        make_repeatable(args.seed, site, received.current_round)
        optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
        for _ in range(args.epochs):
            for pixels, targets in batches:
                optimizer.zero_grad()
                loss = loss_of(net(pixels.to(device)), targets.to(device))
                loss.backward()
                optimizer.step()
                step += 1
                writer.add_scalar("train_loss", loss.item(), step)

        params = {name: tensor.cpu().clone() for name, tensor in net.state_dict().items()}
        local_accuracy = accuracy_of(net, held_back)
        writer.add_scalar("local_accuracy", local_accuracy, step)
        if local_accuracy > best_accuracy:
            best_accuracy, best_params = local_accuracy, params
        flare.send(
            flare.FLModel(
                params=params,
                metrics={"accuracy": accuracy},
                meta={"NUM_STEPS_CURRENT_ROUND": steps_per_round},
            )
        )


if __name__ == "__main__":
    main()
