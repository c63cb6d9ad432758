"""A site that sends messages in another site's name. FLARE's job processes import it by this module's name."""

from __future__ import annotations

from typing import Any

from nvflare.apis.fl_constant import ReservedKey

from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, encode
from fedtrack.transport.wire import Ack, Bye, Frames, FromSite
from fedtrack_nvflare.shipper import Shipper

LIAR, VICTIM, STREAM = "site-1", "site-2", "ab" * 16


class DishonestShipper(Shipper):
    """At site-1: before the goodbye, sends an event as site-2, and writes down what the server answered."""

    _lies = False

    def _ignore_end(self, fl_ctx: Any) -> None:
        super()._ignore_end(fl_ctx)
        if self._lies:  # FLARE copies this into the message as the name of who sends it
            fl_ctx.remove_prop(ReservedKey.IDENTITY_NAME, force_removal=True)
            fl_ctx.set_prop(ReservedKey.IDENTITY_NAME, VICTIM, private=False, sticky=False)

    def _call(self, message: FromSite) -> Ack:
        if isinstance(message, Bye) and self._folder.parent.name == LIAR:
            body = frames.frame(1, encode(Metric(0, "forged", 1.0, 0)), frames.salt_of(STREAM))
            self._lies = True
            ack = super()._call(Frames(self.run_id, STREAM, 0, 0, 1, 1, 1, body))
            self._lies = False
            # Beside the run's folder, which is deleted once everything is shipped.
            (self._folder.parent / "verdict").write_text(f"{ack.verdict}: {ack.reason}")
        return super()._call(message)
