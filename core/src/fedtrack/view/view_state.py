"""ViewState: what a view has written, in the transaction that wrote it, so that a restart neither repeats nor skips."""

from __future__ import annotations

import os
from bisect import bisect_right

import msgspec


class ViewState(msgspec.Struct):
    """The state of a view; keys are only ever added.

    Attributes:
        stream: The stream of its records.
        mark: The id of the last batch of which everything was written; reading goes on behind it.
        seen: The id of the last batch that was read; late values up to it are counted.
        rounds: The rounds that were written, as ranges ``[first, last]``, ascending.
        finals: The steps of the scores outside rounds that were written.
        step: The last step that was written; -1 if none. Only without rounds.
        stride: Every how many steps one is written.
        steps: How many steps were written with this stride.
        late: How many batches came when their round had been written.
        worst: The worst site by metric, as it was written last.
        better: Which values of a metric are better, as scripts said.
        missed: By site, how many rounds it had no valid answer in.
    """

    stream: str = msgspec.field(default_factory=lambda: os.urandom(16).hex())
    mark: int = 0
    seen: int = 0
    rounds: list[tuple[int, int]] = []
    finals: list[int] = []
    step: int = -1
    stride: int = 1
    steps: int = 0
    late: int = 0
    worst: dict[str, str] = {}
    better: dict[str, str] = {}
    missed: dict[str, int] = {}

    def has_round(self, number: int) -> bool:
        """Return whether a round was written."""
        index = bisect_right(self.rounds, (number, float("inf"))) - 1
        return index >= 0 and self.rounds[index][0] <= number <= self.rounds[index][1]

    def add_round(self, number: int) -> None:
        """Note that a round is written."""
        merged: list[tuple[int, int]] = []
        for first, last in sorted([*self.rounds, (number, number)]):
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
            else:
                merged.append((first, last))
        self.rounds = merged


def encode_state(state: ViewState) -> str:
    """Return the state as text for the journal."""
    return msgspec.json.encode(state).decode()


def decode_state(text: str | None) -> ViewState:
    """Return a stored state, or a new one if there is none, or none that can be read."""
    if text is None:
        return ViewState()
    try:
        return msgspec.json.decode(text, type=ViewState)
    except msgspec.MsgspecError:
        return ViewState()
