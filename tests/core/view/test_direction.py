"""Direction: guesses from names, and no guess where a name does not tell."""

import pytest

from fedtrack.view.direction import guessed


@pytest.mark.parametrize(
    ("key", "better"),
    [
        ("train_loss", "lower"),
        ("val/Loss", "lower"),
        ("valLoss", "lower"),
        ("error_rate", "lower"),
        ("RMSE", "lower"),
        ("accuracy", "higher"),
        ("val_acc", "higher"),
        ("test/f1", "higher"),
        ("AUC", "higher"),
        ("top1", "higher"),
        ("lr", ""),
        ("glossary", ""),
        ("accumulated", ""),
        ("grad_norm", ""),
        ("", ""),
    ],
)
def test_a_name_tells_or_does_not(key: str, better: str) -> None:
    assert guessed(key) == better
