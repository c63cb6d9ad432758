"""Other receiver: one that the job does not name, and that gets all events of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from fedtrack.job.resolved_receiver import built_receiver
from fedtrack.tracking.receiver import Receiver


def other_name(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the cursor's name for a receiver that the job does not name; other arguments give another name."""
    digest = sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:8]
    return f"{name}+{digest}"


def other_receiver(name: str, arguments: Mapping[str, Any]) -> tuple[str, Receiver]:
    """Return the id and the receiver of a registered name, with arguments as a job has them.

    Raises:
        FedtrackError: There is no such receiver, or its arguments are not valid.
    """
    receiver = built_receiver(name, arguments, "arguments")
    receiver.check()
    # The cursor's name comes from the arguments as written: with a changed secret it is the same receiver.
    return other_name(receiver.name, arguments), receiver
