"""transformers: after the import, `report_to="fedtrack"` tracks what the Trainer logs."""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch.nn import functional
from transformers import Trainer, TrainingArguments

import fedtrack_transformers  # noqa: F401 - tells transformers the name


class Net(torch.nn.Module):
    """A linear classifier, with the arguments and results that the Trainer expects."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(64, 10)

    def forward(self, pixels, labels=None):
        """Return the loss and the scores of each digit."""
        logits = self.net(pixels)
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def main() -> None:
    """Train for two epochs."""
    images, labels = load_digits(return_X_y=True)
    rows = [
        {"pixels": torch.tensor(image / 16, dtype=torch.float32), "labels": int(label)}
        for image, label in zip(images, labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=2,
            per_device_train_batch_size=100,
            learning_rate=0.05,
            logging_steps=1,
            eval_strategy="epoch",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
            report_to="fedtrack",
        )
        Trainer(Net(), arguments, train_dataset=rows[:1400], eval_dataset=rows[1400:]).train()


if __name__ == "__main__":
    main()
