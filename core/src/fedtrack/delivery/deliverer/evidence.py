"""Evidence: what the deaths of its process prove against a receiver, and what is done about it.

A receiver that ends its process in ``receive`` three times with the same events is given them in smaller pieces, until
one record is left; that record becomes a dead letter. SIGKILL proves nothing: it comes from an operator, or from a
machine without memory. A death in another call is no record's fault: the receiver is given up after three of them, and
its records are kept.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

from fedtrack.delivery.calls import Call, CallState
from fedtrack.delivery.deliverer.surroundings import SILENT_SECONDS
from fedtrack.delivery.suspect import Precautions, Suspect

#: How often a receiver may end its process before something is done about it.
TRIES = 3

#: Signals that a process sends to itself.
_FAULTS = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE))


class Death(NamedTuple):
    """The end of a process.

    Attributes:
        text: How it ended, as the end of the sentence "its process was ended by".
        proves: Whether what it did last is to blame.
    """

    text: str
    proves: bool


def death_of(status: int, *, silent: bool) -> Death:
    """Return the meaning of a process's end.

    Args:
        status: Its exit status; the negative number of a signal that ended it.
        silent: Whether it had given no sign of life for ``SILENT_SECONDS``.
    """
    if silent:
        return Death(f"a call that let nothing else run for {SILENT_SECONDS:.0f} s", proves=True)
    if status >= 0:
        return Death(f"an exit with status {status}", proves=True)
    try:
        found = signal.Signals(-status)
    except ValueError:  # a real-time signal
        return Death(f"the signal {-status}", proves=False)
    return Death(found.name, found in _FAULTS)


class Evidence:
    """The evidence against one receiver.

    Attributes:
        precautions: How to feed it from now on.
        given_up: Why it is not started again, or "".
    """

    def __init__(self) -> None:
        self.precautions = Precautions()
        self.given_up = ""
        self._deaths = 0
        self._call = Call.NONE
        self._position = (0, 0)
        self._cursor = -1
        self._barren = 0

    def add(self, death: Death, state: CallState, cursor: int) -> bool:
        """Add the death of a process in which only this receiver can be to blame.

        Args:
            death: The death, which proves something.
            state: The receiver's calls at that time.
            cursor: The id of the last batch that is done.

        Returns:
            Whether more is known now than that the same has happened again.
        """
        call, position = Call(state.call), (state.batch, state.seq)
        if cursor != self._cursor or call is not self._call or (call is Call.RECEIVE and position != self._position):
            self._deaths = 0
        self._cursor, self._call, self._position = cursor, call, position
        self._deaths += 1
        if state.accepted:
            self._barren = 0
        if call is Call.RECEIVE:
            return self._narrow(death, state)
        if self._deaths >= TRIES:
            where = "between two calls" if call is Call.NONE else f"in {call.method}()"
            self.given_up = f"its process was ended {where} by {death.text}, {self._deaths} times in a row"
        return False

    def _narrow(self, death: Death, state: CallState) -> bool:
        suspect = self.precautions.suspect
        in_pieces = suspect is not None and state.events <= suspect.piece
        one_by_one = self.precautions.cautious and state.events == 1
        if self._deaths < TRIES and not in_pieces and not one_by_one:
            return False
        if state.events > 1:
            suspect = Suspect(state.batch, state.seq, state.events, state.events // 2)
            self.precautions = Precautions(suspect, self.precautions.condemned, self.precautions.cautious)
            return True
        self._barren += 1
        if self._barren > TRIES:
            self.given_up = f"its process was ended in receive() by {death.text} with each of {TRIES} single records"
            return True
        reason = f"the receiver's process was ended in receive() by {death.text} each time with this record"
        condemned = [*self.precautions.condemned, (state.batch, state.seq, reason)]
        self.precautions = Precautions(None, condemned, cautious=True)
        return True
