"""The default receiver of a job, as in FLARE: TensorBoard's."""

from __future__ import annotations

import logging

from fedtrack.errors import PluginError
from fedtrack.plugins import registry
from fedtrack.tracking.events import FED_EVENT, LOCAL_EVENT
from fedtrack.tracking.receiver import Receiver

log = logging.getLogger(__name__)


def default_receiver() -> Receiver | None:
    """Return TensorBoard's receiver as BaseFedJob registers it; None, with a warning, if it is not installed."""
    try:
        return registry().receiver("tensorboard")(events=[LOCAL_EVENT, FED_EVENT])
    except PluginError as error:
        from fedtrack.plugins import remedy

        how = remedy.install("fedtrack[tensorboard]")
        log.warning("%s The job goes without the default TensorBoard receiver; to have it: %s", error, how)
        return None
