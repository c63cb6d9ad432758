"""Accelerate: after the import, `log_with="fedtrack"` tracks what `accelerator.log` is given."""

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import fedtrack_transformers  # noqa: F401 - tells Accelerate the name


def main() -> None:
    """Train for two epochs."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    net = torch.nn.Linear(64, 10)
    accelerator = Accelerator(cpu=True, log_with="fedtrack")
    accelerator.init_trackers("digits", config={"lr": 0.05, "batch": {"size": 100}})
    net, optimizer, batches = accelerator.prepare(
        net, torch.optim.SGD(net.parameters(), lr=0.05), DataLoader(data, batch_size=100, shuffle=True)
    )
    step = 0
    for _ in range(2):
        for pixels, digits in batches:
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(pixels), digits)
            accelerator.backward(loss)
            optimizer.step()
            accelerator.log({"train_loss": loss}, step=step)
            step += 1
    accelerator.end_training()


if __name__ == "__main__":
    main()
