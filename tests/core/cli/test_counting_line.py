"""The line about a count that takes long: not too often, and with what is left."""

from __future__ import annotations

import pytest

from fedtrack.cli.counting_line import CountingLine


def test_a_long_count_says_now_and_then_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    line = CountingLine(lambda: now)
    for second in range(12):
        now = float(second)
        line("mlflow", 100 * second, 100_000)
    now = 100.0
    line("other", 1, 2)  # its own time begins now
    now = 106.0
    line("other", 1, 100)
    line("other", 2, 100)
    out, shown = capsys.readouterr()
    assert out == ""
    assert shown.splitlines() == [
        "mlflow: 500 of 100,000 names counted, about 17 min left",
        "mlflow: 1,000 of 100,000 names counted, about 16 min left",
        "other: 1 of 100 names counted, about 10 min left",
    ]


@pytest.mark.parametrize(("left", "text"), [(0.4, "0 s"), (89, "89 s"), (120, "2 min"), (7200, "2.0 h")])
def test_durations_are_short(left: float, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    line = CountingLine(lambda: now)
    line("mlflow", 0, 1_000_000)
    now = 10.0
    done = 10_000
    line("mlflow", done, done + round(left / 10 * done))
    assert capsys.readouterr().err.endswith(f", about {text} left\n")
