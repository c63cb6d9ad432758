"""Rows of the matrix: each fault, what must be true right after it, and what brings everything where it belongs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults import damage

_EARLY, _MIDDLE, _END = (0, 0), (1, 20), (1, 39)
_WHEN = {_EARLY: "at its first log call", _MIDDLE: "in the middle of a round", _END: "at its last log call"}


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        what: The fault, for the table.
        when: When it happens, for the table.
        fault: What the script of ``site-1`` does, and options of the job.
        codes: The valid exit codes of the run; empty for any.
        mood: What the backend does meanwhile.
        harm: Damages the files after the run.
        cure: The commands that bring everything where it belongs, without the name of the workspace.
        lossless: Whether the cure brings everything; otherwise each loss is said.
        small_disk: The size of a file system of its own for the workspace, in KiB; 0 for none.
        closed_stdout: Whether nobody reads what the run prints.
        slow: Whether only ``make soak`` runs it.
    """

    what: str
    when: str
    fault: dict[str, Any] = field(default_factory=dict)
    codes: tuple[int, ...] = ()
    mood: str = ""
    harm: Callable[[Path], None] | None = None
    cure: tuple[tuple[str, ...], ...] = ()
    lossless: bool = True
    small_disk: int = 0
    closed_stdout: bool = False
    slow: bool = False

    @property
    def id(self) -> str:
        """The name of its test."""
        return f"{self.what} {self.when}".strip().replace(" ", "-")


def _signal(victim: str, number: signal.Signals, moment: tuple[int, int]) -> dict[str, Any]:
    return {"victim": victim, "signal": int(number), "round": moment[0], "call": moment[1]}


#: Another process has to start before the run is over.
_PATIENT = {"stall": 30.0}
_RESUME = (("resume",),)
_REPLAY = (("runs", "replay"),)
#: The site is killed with the server, so that its last records are only in its spool.
_LEFT_IN_SPOOL = _signal("server", signal.SIGKILL, _MIDDLE)

KILLS = [
    Row(
        f"SIGKILL of a {victim}" if victim == "site" else f"SIGKILL of the {victim}",
        _WHEN[moment],
        _signal(victim, signal.SIGKILL, moment),
        codes,
        cure=_RESUME,
    )
    for victim, codes in (("site", (1,)), ("fork server", (1,)), ("server", (-9,)))
    for moment in _WHEN
]

SIGNALS = [
    Row(name, "in the middle of a round", _signal("server", number, _MIDDLE), codes, cure=_RESUME)
    for name, number, codes in (
        ("Ctrl-C", signal.SIGINT, (130,)),
        ("SIGTERM", signal.SIGTERM, (143, 130, -15)),
        ("SIGHUP", signal.SIGHUP, (129, 130, -1)),
    )
] + [Row("closed stdout", "from the start", closed_stdout=True)]

BACKENDS = [
    Row("backend down", "all the time", mood="down", cure=_REPLAY),
    Row("backend answers 500", "all the time", mood="500", cure=_REPLAY),
    Row("backend slow", "all the time", mood="slow"),
    Row("backend refuses with 400", "all the time", mood="400", cure=(("runs", "dlq", "retry", "RUN", "component"),)),
    Row(
        "backend answers 200 {} and keeps nothing", "all the time", mood="200 {}", cure=(("runs", "replay", "--again"),)
    ),
    Row("receiver hangs in receive", "at its first call", mood="hang in receive", cure=_REPLAY),
    Row("receiver hangs in open", "at its first call", mood="hang in open", cure=_REPLAY, slow=True),
    Row(
        "replay killed",
        "after a killed server",
        _LEFT_IN_SPOOL,
        (-9,),
        mood="slow",
        cure=(("kill", "runs", "replay"), *_REPLAY),
    ),
]

ROOM = [
    Row("spool limit", "while a site logs", {"calls": 20_000, "job": {"spool_limit": 128 * 1024}}, lossless=False),
    Row("disk full", "in the middle of a run", {"calls": 20_000}, small_disk=2_000, cure=_REPLAY, lossless=False),
    Row(
        "disk full and SIGKILL of the server",
        "in the last round",
        {"calls": 20_000, **_signal("server", signal.SIGKILL, (1, 100))},
        small_disk=2_000,
        cure=_REPLAY,
        lossless=False,
    ),
]

# Without a segment that is cut: behind records that no server has read, a cut looks like an earlier kill. The cuts that
# can be told are in tests/core/spool/test_damaged_bytes.py.
DAMAGE = [
    Row(f"segment {name}", "after a killed server", _LEFT_IN_SPOOL, (-9,), harm=harm, cure=_REPLAY, lossless=False)
    for name, harm in (
        ("emptied", damage.empty_segment),
        ("deleted", damage.delete_segment),
        ("with a flipped bit", damage.flip_segment),
    )
]

_SALVAGE = (("runs", "salvage"), ("runs", "replay"))
#: Two of them are enough beside the many damages in tests/e2e/test_damaged_runs.py.
DAMAGE += [
    Row(f"journal {name}", "after the run", {}, (0,), harm=harm, cure=cure, lossless=False, slow=slow)
    for name, harm, cure, slow in (
        ("with a page zeroed", damage.zero_page, _SALVAGE, False),
        ("with two pages swapped", damage.swap_pages, _SALVAGE, True),
        ("truncated", damage.truncate_journal, _SALVAGE, True),
        ("deleted", damage.delete_journal, _REPLAY, False),
    )
]

#: A deliverer that dies is started again, and the run does not notice.
DELIVERER = [
    Row("SIGKILL of the deliverer", _WHEN[moment], _signal("deliverer", signal.SIGKILL, moment) | _PATIENT, (0,))
    for moment in _WHEN
] + [
    Row(f"receiver {what} in {call}", "at its first call", _PATIENT, (0,), mood=f"{mood} once in {call}")
    for what, mood in (("aborts", "abort"), ("exits", "exit"))
    for call in ("open", "receive", "flush")
]

ROWS = [*KILLS, *SIGNALS, *BACKENDS, *DELIVERER, *ROOM, *DAMAGE]
