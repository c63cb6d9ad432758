"""A receiver's label names its node and its id, and nothing else."""

from __future__ import annotations

import pytest

from fedtrack.delivery.label import receiver_label, split_label


@pytest.mark.parametrize(
    ("node", "id_", "label"),
    [("server", "mlflow", "mlflow"), ("site-1", "own", "site-1/own"), ("server", "tb+1", "tb+1")],
)
def test_a_label_can_be_taken_apart(node: str, id_: str, label: str) -> None:
    assert receiver_label(node, id_) == label
    assert split_label(label) == (node, id_)
