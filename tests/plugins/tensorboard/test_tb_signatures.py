"""SummaryWriter has every public method of torch's, with its arguments, in their order."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter as TorchWriter

from fedtrack_tensorboard import SummaryWriter
from support.signatures import missing_arguments

pytestmark = pytest.mark.torch

METHODS = sorted(name for name, value in vars(TorchWriter).items() if inspect.isfunction(value) and name[0] != "_")


def test_the_list_of_torch_is_read() -> None:
    assert {"add_scalar", "add_figure", "add_mesh", "get_logdir"} <= set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_takes_torchs_arguments(record_log: Any, name: str) -> None:
    assert missing_arguments(getattr(SummaryWriter(), name), getattr(TorchWriter, name)) == []


def test_the_constructor_takes_torchs_arguments() -> None:
    assert missing_arguments(SummaryWriter, TorchWriter.__init__) == []


def test_the_check_can_fail() -> None:
    def ours(tag: str, value: float, step: int = 1) -> None: ...

    def theirs(tag: str, step: int | None = None, value: float = 0, more: int = 0) -> None: ...

    assert missing_arguments(ours, theirs) == [
        "step is argument 3, not 2",
        "step is 1 by default, not None",
        "value is argument 2, not 3",
        "value has no default",
        "no more",
    ]
