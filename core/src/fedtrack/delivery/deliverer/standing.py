"""Standing: what a supervisor knows of one receiver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns

import msgspec

from fedtrack.delivery.calls import Call, CallState
from fedtrack.delivery.deliverer.evidence import Evidence
from fedtrack.delivery.deliverer.messages import ReceiverSpec, Said
from fedtrack.delivery.deliverer.worker import Worker
from fedtrack.delivery.report import ReceiverTally
from fedtrack.tracking.receiver import Receiver

#: A process that was ended from outside is started again after this many seconds; doubles with each such death.
_FIRST_BACKOFF_SECONDS = 0.5
_LONGEST_SECONDS, _LONGEST_DRAINING_SECONDS = 60.0, 5.0
#: After a death that proves something, the next process is what finds the guilty record.
_FIRST_TRIAL_SECONDS, _LONGEST_TRIAL_SECONDS = 0.05, 1.0
#: The first deaths without progress in between cost a receiver nothing of the patience at the end of a run.
_EXCUSED_DEATHS = 2


@dataclass(eq=False)
class Standing:
    """What is known of one receiver.

    Attributes:
        receiver: The receiver, which is never opened in this process.
        spec: The receiver as a message.
        listens: Whether it listens to the events of a site.
        said: The last report about it.
        evidence: The evidence against it.
        worker: The process that serves it; None while there is none.
        trouble: How its last process ended, or "".
        left: Why nobody waits for it any longer, or "".
        abandoned: When it was told that nobody waits, by the monotonic clock; None if it was not.
        over: Whether nothing more is expected of it.
        progressed: When there was progress, by the monotonic clock.
        tried: Whether its first ``open`` has ended, in any way.
        paused: Whether no process may be started for it.
        pausing: Whether its process was told to close it in order.
    """

    receiver: Receiver
    spec: ReceiverSpec
    listens: Callable[[str], bool]
    said: Said = field(init=False)
    evidence: Evidence = field(default_factory=Evidence)
    worker: Worker | None = None
    trouble: str = ""
    left: str = ""
    abandoned: float | None = None
    over: bool = False
    progressed: float = field(default_factory=monotonic)
    tried: bool = False
    paused: bool = False
    pausing: bool = False
    _moves: int = 0
    _deaths: int = 0
    _cursor: int = -1
    _outages: float = 0.0

    def __post_init__(self) -> None:
        self.said = Said(self.id)

    @property
    def id(self) -> str:
        """The component's id."""
        return self.spec.id

    def calls(self) -> CallState:
        """Return the state of its calls."""
        return CallState() if self.worker is None else self.worker.calls(self.id)

    def look(self) -> None:
        """Note whether there was progress."""
        state = self.calls()
        if state.moves != self._moves:
            self._moves, self.progressed = state.moves, monotonic()
        if state.tried:
            self.tried = True
        if state.accepted:
            self.trouble = ""

    def died(self, text: str, cursor: int, *, proves: bool, draining: bool) -> float:
        """Note the death of its process, and return after how many seconds there may be another one."""
        if cursor != self._cursor:
            self._cursor, self._deaths = cursor, 0
        self.look()
        self.leave_process()
        self.trouble = f"its process was ended by {text}"
        first, longest = _FIRST_TRIAL_SECONDS, _LONGEST_TRIAL_SECONDS
        if not proves:
            first, longest = _FIRST_BACKOFF_SECONDS, _LONGEST_DRAINING_SECONDS if draining else _LONGEST_SECONDS
        self._deaths += 1
        if self._deaths <= _EXCUSED_DEATHS:  # another receiver may be to blame
            self.progressed = monotonic()
        return min(first * float(1 << min(self._deaths - 1, 16)), longest)

    def leave_process(self) -> None:
        """Note that no process serves it any longer."""
        self.worker, self.tried, self._moves, self.pausing = None, True, 0, False
        self._outages += self.said.outage_seconds
        self.said.outage_seconds = 0.0

    def begin_again(self) -> None:
        """Forget why it was given up, or why its delivery has stopped: somebody wants it to be tried again."""
        self.evidence, self.worker, self.over, self.trouble = Evidence(), None, False, ""
        self.progressed = monotonic()

    def waits_for(self) -> str:
        """Return what it is doing, in a few words, for the one who waits."""
        state = self.calls()
        if self.worker is None:
            return f"{self.trouble}; it is started again" if self.trouble else "its process starts"
        if state.call == Call.RECEIVE:
            return f"receive, {state.events:,} events" if state.events != 1 else "receive, 1 event"
        if state.call != Call.NONE:
            return Call(state.call).method
        return self.said.error or ("open" if not self.tried else "delivering")

    def reason(self) -> str:
        """Return why it is left behind now."""
        state = self.calls()
        if state.call == Call.OPEN and not state.tried:
            return "its backend is still being opened"
        if state.call != Call.NONE:
            seconds = (monotonic_ns() - state.started_ns) / 1e9
            if seconds >= 1.0:
                return f"it has not returned from {self.waits_for()} for {seconds:.0f} s"
        return ""

    def current_spec(self) -> ReceiverSpec:
        """Return the receiver as a message, with the precautions that the evidence asks for."""
        return msgspec.structs.replace(self.spec, precautions=self.evidence.precautions)

    def report(self, node: str) -> ReceiverTally:
        """Return the report about it, without counts."""
        said = self.said
        return ReceiverTally(
            receiver=self.receiver.name,
            node=node,
            error=self.evidence.given_up or self.left or said.error or self.trouble,
            location=said.location,
            command=said.command,
            outage_seconds=self._outages + said.outage_seconds,
            outage=said.outage,
            id=self.id,
        )
