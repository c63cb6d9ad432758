"""The federated part of the other scripts in this folder, which only add log calls."""

from __future__ import annotations

from collections.abc import Iterator

import fedtrack.client as flare


def rounds() -> Iterator[int]:
    """Yield the index of each round, and send a model back when the round's code is done."""
    while flare.is_running():
        received = flare.receive()
        assert received is not None
        assert received.params is not None
        assert received.current_round is not None
        yield received.current_round
        flare.send(
            flare.FLModel(
                params={name: value + 1 for name, value in received.params.items()},
                metrics={"accuracy": received.current_round / 8},
                meta={"NUM_STEPS_CURRENT_ROUND": 1},
            )
        )
