"""Components of the arms; FLARE's processes import them by this module's name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from nvflare.apis.fl_constant import FLContextKey
from nvflare.app_common.widgets.streaming import AnalyticsReceiver

from fedtrack.transport.wire import Frames, decode_from_site
from fedtrack_nvflare.collector import Collector
from fedtrack_nvflare.shipper import Shipper

PER_EVENT_SECONDS = 0.01
PER_MESSAGE_SECONDS = 0.4


class SlowReceiver(AnalyticsReceiver):
    """FLARE's path: a receiver that needs 10 ms per event, and counts the events."""

    def __init__(self, seconds: float = PER_EVENT_SECONDS) -> None:
        super().__init__()
        self.seconds = seconds
        self._count = 0

    def initialize(self, fl_ctx: Any) -> None:
        workspace = fl_ctx.get_prop(FLContextKey.WORKSPACE_OBJECT) or fl_ctx.get_engine().get_workspace()
        self._file = Path(workspace.get_run_dir(fl_ctx.get_job_id())) / "received"

    def save(self, fl_ctx: Any, shareable: Any, record_origin: str) -> None:
        time.sleep(self.seconds)
        self._count += 1
        self._file.write_text(str(self._count))

    def finalize(self, fl_ctx: Any) -> None:
        pass


class SlowPerEvent(Collector):
    """Our path, with the same 10 ms per event before the acknowledgement."""

    def _answer(self, site: str, data: bytes) -> bytes:
        message = decode_from_site(data)
        if isinstance(message, Frames):
            time.sleep(PER_EVENT_SECONDS * message.count)
        return super()._answer(site, data)


class SlowPerMessage(Collector):
    """Our path, with 0.4 s before each acknowledgement, as for a distant or busy server."""

    def _answer(self, site: str, data: bytes) -> bytes:
        time.sleep(PER_MESSAGE_SECONDS)
        return super()._answer(site, data)


class NotWaiting(SlowPerMessage):
    """The same, but the run does not wait for the sites' last messages."""

    def _vote(self, fl_ctx: Any) -> None:
        pass


class HeedingTheSignal(Shipper):
    """A shipper that keeps FLARE's abort signal in its requests."""

    def _ignore_end(self, fl_ctx: Any) -> None:
        pass
