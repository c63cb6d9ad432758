"""The simulation finds a protocol that breaks its promises, and shows the shortest run that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from simulation import plan
from simulation.simulate import COMMAND, explain, simulate

from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import Cursor
from fedtrack.journal import journal
from fedtrack.spool import spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.transport.intake import Intake

_SEEDS = 150
Patch = pytest.MonkeyPatch


def forgets_its_mark(patch: Patch) -> None:
    patch.setattr(journal, "_high_water", lambda *_: 0)


def counts_no_drops(patch: Patch) -> None:
    def drop(self: Any, count: int) -> None:
        self._unreported = 0

    patch.setattr(spool.Spool, "_drop", drop)


def acknowledges_before_the_commit(patch: Patch) -> None:
    real = Intake._store

    def store(self: Intake, site: str, message: Any) -> Any:
        ack = real(self, site, message)
        return type(ack)(ack.verdict, max(ack.stored_upto, message.last + 1)) if ack.verdict == "stored" else ack

    patch.setattr(Intake, "_store", store)


def moves_the_cursor_before_the_flush(patch: Patch) -> None:
    real = Delivery._hand_over

    def hand_over(self: Delivery, load: Any, now: float) -> None:
        self._ledger.advance(self.name, Cursor(load.last))
        real(self, load, now)

    patch.setattr(Delivery, "_hand_over", hand_over)


def does_not_secure_large_values(patch: Patch) -> None:
    patch.setattr(BlobStore, "secure", lambda *_: None)


BROKEN = {
    forgets_its_mark: {"D1", "once", "order"},
    counts_no_drops: {"tally"},
    acknowledges_before_the_commit: {"J2"},
    moves_the_cursor_before_the_flush: {"D2", "receiver", "dead letters", "verify"},
    does_not_secure_large_values: {"text"},
}


@pytest.mark.parametrize(("breaks", "invariants"), BROKEN.items(), ids=[one.__name__ for one in BROKEN])
def test_a_broken_protocol_is_found(
    monkeypatch: pytest.MonkeyPatch, breaks: Callable[[Patch], None], invariants: set[str]
) -> None:
    breaks(monkeypatch)
    found = next((broken for seed in range(_SEEDS) if (broken := simulate(plan.make(seed)))), "nothing")
    assert found.partition(":")[0] in {"error", *invariants}


def test_a_failure_shows_the_shortest_run_and_how_to_repeat_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counts_no_drops(monkeypatch)
    made = next(one for seed in range(_SEEDS) if simulate(one := plan.make(seed)))
    message = explain(made, simulate(made))
    trace = message.splitlines()[-1].strip().removeprefix(COMMAND).split()
    small = plan.read(trace)
    assert len(small.steps) < len(made.steps) / 2
    assert simulate(small).startswith("tally")
    for index in range(len(small.steps)):
        rest = small.steps[:index] + small.steps[index + 1 :]
        assert not simulate(small._replace(steps=rest)).startswith("tally"), "a step too many"


def test_a_plan_is_what_its_text_says() -> None:
    for seed in range(50):
        assert plan.read(plan.show(plan.make(seed)).split()) == plan.make(seed)
    with pytest.raises(ValueError, match="durability"):
        plan.read(["1:0,never,1,200"])


def test_a_seed_is_the_same_run_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulation.files import Files

    changes: list[tuple[str, int | None]] = []
    real = Files.change

    def change(self: Files) -> bool:
        if self.process is not None:
            changes.append((self.process.name, self.process.fuse))
        return real(self)

    monkeypatch.setattr(Files, "change", change)
    for seed in range(10):
        changes.clear()
        first = (simulate(plan.make(seed)), list(changes))
        changes.clear()
        assert (simulate(plan.make(seed)), list(changes)) == first
