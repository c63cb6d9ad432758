"""Collectors with faults. FLARE's job processes import them by this module's name."""

from __future__ import annotations

import time
from itertools import count
from typing import Any

from nvflare.apis.event_type import EventType

from fedtrack.transport.wire import Ack, Frames, decode_from_site, encode
from fedtrack_nvflare.collector import Collector


class FaultyCollector(Collector):
    """Refuses every third message, loses the answer of every fifth, and takes its time when the run ends."""

    def __init__(self, run_id: str, drain: bool = False) -> None:
        super().__init__(run_id, drain)
        self._numbers = count(1)
        self._ending = False

    def handle_event(self, event_type: str, fl_ctx: Any) -> None:
        super().handle_event(event_type, fl_ctx)
        if event_type == EventType.ABOUT_TO_END_RUN:
            self._ending = True

    def _answer(self, site: str, data: bytes) -> bytes:
        number = next(self._numbers)
        if self._ending:
            time.sleep(0.4)  # longer than FLARE waits once a run's abort signal is set
        if number % 3 == 0:
            return encode(Ack("busy", retry_after=0.05, reason="a bad day"))
        answer = super()._answer(site, data)
        if number % 5 == 0:
            (self._folder / "answers_lost").open("a").write(f"{number}\n")
            return b"\xc1 no answer"
        return answer


class FullCollector(Collector):
    """Has room for one batch of each site, so that everything else stays in the sites' spools."""

    def __init__(self, run_id: str, drain: bool = False) -> None:
        super().__init__(run_id, drain)
        self._served: set[str] = set()

    def _answer(self, site: str, data: bytes) -> bytes:
        if isinstance(decode_from_site(data), Frames):
            if site in self._served:
                return encode(Ack("busy", retry_after=0.1, reason="no room"))
            self._served.add(site)
        return super()._answer(site, data)
