"""RecordedReceiver: a receiver whose calls are recorded, and whose answers are checked."""

from __future__ import annotations

import logging

from fedtrack.delivery.calls import Call, CallRecorder
from fedtrack.delivery.load import Part
from fedtrack.delivery.retry import describe, traceback_of
from fedtrack.tracking.normalise import shorten
from fedtrack.tracking.receiver import Receiver, Results, RunInfo

log = logging.getLogger(__name__)


class RecordedReceiver:
    """Calls a receiver.

    Args:
        id_: The component's id.
        receiver: The receiver, not opened yet.
        calls: Records the calls.

    Attributes:
        results: Where the records are; None if that is not known.
        complaint: What is wrong with the receiver's answer to ``results``, or "".
    """

    def __init__(self, id_: str, receiver: Receiver, calls: CallRecorder) -> None:
        self.results: Results | None = None
        self.complaint = ""
        self._id = id_
        self._receiver = receiver
        self._module = type(receiver).__module__
        self._calls = calls

    def open(self, run: RunInfo) -> None:
        """Open the receiver, and ask where its records will be."""
        try:
            with self._calls.during(Call.OPEN):
                self._receiver.open(run)
        finally:
            if not self._calls.state.tried:  # it has had its time; further failed attempts are not progress
                self._calls.moved(tried=True)
        self._calls.moved()
        self.results = self._ask_results()

    def receive(self, part: Part) -> None:
        """Hand over a part."""
        first = part.events[0]
        with self._calls.during(Call.RECEIVE, batch=first.batch, seq=first.seq, events=len(part.events)):
            self._receiver.receive(part.batch())

    def flush(self) -> None:
        """Let everything received survive the death of this process."""
        with self._calls.during(Call.FLUSH):
            self._receiver.flush()

    def close(self, status: str) -> str:
        """Close the receiver and return the error, or ""."""
        error = ""
        try:
            with self._calls.during(Call.CLOSE):
                self._receiver.close(status)
        except BaseException as raised:  # a backend that calls sys.exit() ends its delivery, but with a message
            error = describe(raised, self._module)
            log.error("%s: closing failed: %s", self._id, error, extra=traceback_of(raised, self._module))
        if self.results is not None:
            self.results = self._ask_results() or self.results  # its remaining work may be known only now
        return error

    def _ask_results(self) -> Results | None:
        """Return where the records are; an answer that is none costs only itself."""
        try:
            with self._calls.during(Call.RESULTS):
                found = self._receiver.results()
        except BaseException as error:
            self._complain(f"results() failed: {describe(error, self._module)}", error)
            return None
        if found is None or (isinstance(found, Results) and _is_text(found.location) and _is_text(found.command)):
            return found
        self._complain(f"results() returned {shorten(found)}; valid are fedtrack.Results with strings, and None")
        return None

    def _complain(self, text: str, error: BaseException | None = None) -> None:
        if text != self.complaint:
            extra = None if error is None else traceback_of(error, self._module)
            log.error("%s: %s", self._id, text, extra=extra)
        self.complaint = text


def _is_text(value: object) -> bool:
    return isinstance(value, str)
