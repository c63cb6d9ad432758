"""The laws of arrival: what they read back has to be a number before it is compared."""

from __future__ import annotations

import pytest

from fedtrack.testing.laws.delivery import float_of


@pytest.mark.parametrize("value", ["0.5", 1, None])
def test_a_metric_that_came_back_as_something_else_is_shown(value: object) -> None:
    with pytest.raises(AssertionError, match=f"a metric came back as {value!r}"):
        float_of(value)
    assert float_of(0.5) == 0.5
