"""Shipment: one site's records on their way to a collector, and the goodbye when its processes have ended."""

from __future__ import annotations

import contextlib
from time import monotonic

from fedtrack.connection.outbox import Shipped, SiteBox
from fedtrack.policy.run_terms import RunTerms
from fedtrack.spool.counter_page import page_path
from fedtrack.spool.counts import read_counts
from fedtrack.spool.segments import is_open, list_streams
from fedtrack.transport.guard import Guard
from fedtrack.transport.https import BATCH_BYTES, HttpsLine
from fedtrack.transport.shipper import SpoolShipper
from fedtrack.transport.wire import Ack, Bye, FromSite

#: Seconds between two looks at whether a process of the site still has its spool open.
_LOOK_SECONDS = 0.5
_FOREVER = float("inf")


class Shipment:
    """Ships one site.

    Args:
        box: The site's folder.
        run: The run's name.
        line: The connection to the collector.

    Attributes:
        done: Whether the collector has everything, and no process of the site has its spool open.
    """

    def __init__(self, box: SiteBox, run: str, line: HttpsLine) -> None:
        self.box = box
        self.done = False
        self._run = run
        self._line = line
        self._call = line.call_of(run, box.site)
        self._status = box.shipped()
        self._next_look = self._not_before = 0.0
        self._reason = ""
        # Those with which the site's processes began; a policy that the operator names since counts, too.
        terms = RunTerms.find([box.site], workspace=box.folder).kept(box.folder)
        self._guard = Guard.open(box.site, run, box.folder, terms.of(box.site))
        self._shipper = self._new_shipper()

    def step(self, now: float) -> float:
        """Send what can be sent, and return the seconds until the next call.

        Args:
            now: The time, in seconds of ``time.monotonic``.
        """
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self._look()
        if self.done or now < self._not_before:
            return _LOOK_SECONDS
        wait = self._shipper.step(now)
        if wait is None:
            self._end()
            wait = _LOOK_SECONDS
        self._not_before = now + wait
        self._tell()
        return wait

    def _look(self) -> None:
        """Begin the goodbye when no process writes any more, and take it back when one does."""
        streams = {
            name: one for name, one in list_streams(self.box.spool).items() if name not in self._shipper.rejected
        }
        live = any(is_open(segments[-1].path) for segments in streams.values())
        if (self.done and streams) or (live and self._shipper.ending):
            self._begin()
        if not live and not self.done and not self._shipper.ending:
            self._shipper.end(self._goodbye, _FOREVER)
            self._not_before = 0.0

    def _end(self) -> None:
        """Note the end of the conversation."""
        if self._shipper.complete:
            self._complete()
        elif self._shipper.rejected:
            self.done = True
        else:  # nobody has answered the goodbye: ask again what the collector has
            self._begin()
            self._shipper.end(self._goodbye, _FOREVER)

    def _begin(self) -> None:
        self.done = False
        self._not_before = 0.0
        self._shipper = self._new_shipper()

    def _goodbye(self, final: dict[str, int]) -> Bye:
        unsaid = final.keys() - set(self._status.said)
        counts = read_counts(self.box.spool, unsaid)
        if self._guard is not None:
            counts = {name: self._guard.counted(name, one) for name, one in counts.items()}
        known = [one for one in counts.values() if one is not None]
        return Bye(
            self._run,
            final,
            None,
            sum(one.dropped for one in known),
            withheld=sum(one.withheld for one in known),
            rejected=sum(one.rejected for one in known),
            counts=counts,
        )

    def _complete(self) -> None:
        """Delete the pages, whose counts have arrived."""
        self.done = True
        said = self._shipper.marks.keys()
        self._status.said = sorted({*self._status.said, *said})
        for stream in said:
            page = page_path(self.box.spool, stream)
            with contextlib.suppress(OSError):
                if not is_open(page):
                    page.unlink(missing_ok=True)

    def _tell(self) -> None:
        said = Shipped(
            self.done and self._shipper.complete,
            "" if self.done else self._reason,
            dict(self._shipper.rejected),
            self._status.said,
            None if self._line.skew is None else round(self._line.skew),
        )
        if said != self._status:
            self._status = said
            self.box.tell(said)

    def _ask(self, message: FromSite) -> Ack:
        try:
            ack = self._call(message)
        except Exception as error:
            self._reason = str(error)
            raise
        self._reason = ack.reason if ack.verdict == "busy" else ""
        return ack

    def _new_shipper(self) -> SpoolShipper:
        return SpoolShipper(
            self.box.spool, self._run, self._ask, clock=monotonic, batch_bytes=BATCH_BYTES, guard=self._guard
        )
