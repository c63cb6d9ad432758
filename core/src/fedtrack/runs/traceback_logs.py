"""Traceback logs: the files with the whole tracebacks of receivers, whose errors are shown in one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from fedtrack.delivery.deliverer.surroundings import LOG_FILE
from fedtrack.delivery.report import ReceiverTally
from fedtrack.runs.workspace import RUN_FOLDER


def traceback_logs(run: Path, receivers: Iterable[ReceiverTally]) -> list[Path]:
    """Return the existing log files of the nodes whose receivers have, or had, an error.

    Args:
        run: The folder of the run, as in ``RunResult.run``.
        receivers: The receivers.
    """
    nodes = dict.fromkeys(one.node for one in receivers if one.error or one.outage or one.dead)
    logs = [run / node / RUN_FOLDER / LOG_FILE for node in nodes]
    return [log for log in logs if log.exists()]
