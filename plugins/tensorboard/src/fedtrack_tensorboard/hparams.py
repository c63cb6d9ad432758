"""Hyperparameters: a site's parameters in TensorBoard's HPARAMS tab.

TensorBoard reads the hyperparameters of a run from the first event that has any. So they have a file of their own,
which is replaced when they change. A TensorBoard that has already read the file shows the change after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from fedtrack_tensorboard.event_file import append, frame

#: Sorts before the files of records, so that a reader that follows the latest file follows the records.
_FILE_NAME = "events.out.tfevents.00000000.hparams"


Value: TypeAlias = bool | float | str


def write(folder: Path, params: Mapping[str, Value], started: float) -> None:
    """Replace the parameters of the run in ``folder``.

    Args:
        folder: The run's folder, which exists.
        params: Values by key.
        started: Time of the first parameter, seconds since the epoch.

    Raises:
        OSError: The file cannot be written.
    """
    summary = hparams_pb(dict(params), trial_id="", start_time_secs=started)  # "": a row for each run
    version = Event(wall_time=started, file_version="brain.Event:2")
    content = Event(wall_time=started, summary=summary)
    temporary = folder / ".hparams"
    temporary.unlink(missing_ok=True)
    data = frame(version.SerializeToString()) + frame(content.SerializeToString())
    append(temporary, data, create=True)
    temporary.replace(folder / _FILE_NAME)
