"""Trains on this site's images and logs to MLflow, through the server.

This is an ordinary PyTorch loop. The lines with ``flare`` make it federated; the lines with ``mlflow`` make it tracked.
This process never connects to an MLflow server and needs no credentials for one.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader

import fedtrack.client as flare
from fedtrack.client.tracking import MLflowWriter
from fedtrack_examples import data_choice
from fedtrack_examples.training import accuracy_of, make_repeatable

from model import SimpleNetwork


def main() -> None:
    """Do the server's training tasks until there are no more."""
    parser = data_choice.parser()
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=4, help="how often a round goes through the site's images")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate of SGD")
    args = parser.parse_args()

    flare.init()
    site = flare.get_site_name()
    data = data_choice.DataChoice.from_args(args)
    train_images, test_images = data.load(site)
    batches = DataLoader(train_images, batch_size=args.batch_size, shuffle=True)
    steps_per_round = args.epochs * len(batches)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = SimpleNetwork(*data.shape())
    loss_of = nn.CrossEntropyLoss()

    mlflow = MLflowWriter()
    mlflow.log_params(vars(args))

    while flare.is_running():
        received = flare.receive()
        net.load_state_dict(received.params)
        net.to(device)
        accuracy = accuracy_of(net, test_images)
        if flare.is_evaluate():
            flare.send(flare.FLModel(metrics={"accuracy": accuracy}))
            continue

        step = received.current_round * steps_per_round
        mlflow.log_metric("accuracy", accuracy, step)

        make_repeatable(args.seed, site, received.current_round)
        optimizer = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=0.9)
        for _ in range(args.epochs):
            for images, targets in batches:
                optimizer.zero_grad()
                loss = loss_of(net(images.to(device)), targets.to(device))
                loss.backward()
                optimizer.step()
                step += 1
                mlflow.log_metric("train_loss", loss.item(), step)
        mlflow.log_metric("local_accuracy", accuracy_of(net, test_images), step)

        flare.send(
            flare.FLModel(
                params=net.cpu().state_dict(),
                metrics={"accuracy": accuracy},
                meta={"NUM_STEPS_CURRENT_ROUND": steps_per_round},
            )
        )


if __name__ == "__main__":
    main()
