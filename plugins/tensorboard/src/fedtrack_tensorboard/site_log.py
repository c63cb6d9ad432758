"""Site logs: a TensorBoard run for a site's first pass, and one below it for each further pass."""

from __future__ import annotations

import logging
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event

from fedtrack import Batch
from fedtrack.errors import DamagedError
from fedtrack.tracking import BlobStore
from fedtrack.tracking.records import Artifact, Record
from fedtrack_tensorboard import hparams, layout
from fedtrack_tensorboard.artifact_files import write_artifact
from fedtrack_tensorboard.passes import Kind, Passes, Place
from fedtrack_tensorboard.run_folder import RunFolder
from fedtrack_tensorboard.sequences import SequenceSet
from fedtrack_tensorboard.summaries import (
    PARAM_PREFIX,
    event_of,
    given_step_of,
    identify,
    note_given_step,
    series_of,
    value_of_param,
)

log = logging.getLogger(__name__)

#: What only the server logs: it has the same meaning on every engine, and no site logs under such a name.
_OF_THE_SERVER = ("round/", "across_sites/", "sites/")

#: A large batch, such as one of many images, is written in pieces of about this many bytes.
_PIECE = 8 * 1024 * 1024


class SiteLog:
    """Writes each record of a site exactly once, also if it is delivered again or a process is killed.

    Args:
        folder: The site's folder; the files of earlier processes in it are read at once.
        blobs: The store of large values.
        scalar_prefix: The beginning of the tags of scalars, for a node whose steps have another unit than the sites'.
    """

    def __init__(self, folder: Path, blobs: BlobStore, scalar_prefix: str = "") -> None:
        self._folder = folder
        self._blobs = blobs
        self._scalar_prefix = scalar_prefix
        self._repeats: dict[str, int] = {}
        self._said: set[str] = set()
        self._passes = Passes()
        self._runs: list[RunFolder] = []
        self._written: dict[str, SequenceSet] = {}
        self._params: dict[str, hparams.Value] = {}
        self._shown: dict[str, hparams.Value] = {}
        self._started = 0.0
        self._bands: dict[str, float] = {}
        self._laid_out = 0
        for index in range(_count_passes(folder)):
            self._recover(index)

    def write(self, batch: Batch) -> dict[int, str]:
        """Write the records that are not in the files yet; they survive SIGKILL when the call returns.

        Returns:
            The reasons of refused records, by their position in the batch.

        Raises:
            OSError: Some records were not written. Use a new SiteLog for the next attempt.
        """
        written = self._written.setdefault(batch.stream, SequenceSet())
        refused: dict[int, str] = {}
        pending = 0
        for position, (seq, record) in enumerate(zip(batch.seqs, batch.records, strict=True)):
            if seq in written:
                continue
            try:
                pending += self._add(batch.stream, seq, record)
            except (DamagedError, TypeError, ValueError) as error:
                refused[position] = str(error)
                continue
            written.add(seq)
            if pending > _PIECE:
                self._commit()
                pending = 0
        self._commit()
        return refused

    def show_params(self) -> None:
        """Show the site's parameters in TensorBoard's HPARAMS tab, if they changed.

        Raises:
            OSError: The file cannot be written.
        """
        if self._params != self._shown:
            hparams.write(self._folder, self._params, self._started)
            self._shown = dict(self._params)

    def show_layout(self) -> None:
        """Lay out the charts of metrics that have a band over the sites, if there are new ones.

        Raises:
            OSError: The file cannot be written.
        """
        if len(self._bands) != self._laid_out:
            layout.write(self._folder, self._bands, min(self._bands.values()))
            self._laid_out = len(self._bands)

    def _add(self, stream: str, seq: int, record: Record) -> int:
        if isinstance(record, Artifact):
            return write_artifact(self._folder, record.path, self._blobs.read(record.data))
        tag, kind = series_of(record)
        if kind == "scalar" and not tag.startswith(_OF_THE_SERVER):
            tag = self._scalar_prefix + tag
        step: int | None = getattr(record, "step", 0)  # parameters and tags are no series
        if step is None:
            step = self._passes.next_step(tag)
        place = self._passes.choose(tag, kind, step)
        event = event_of(record, tag, place.step, self._blobs)
        if place.step != step:
            note_given_step(event, step)
        size = self._run(place.number).add(stream, seq, event)
        self._note(event, tag, kind, place.number)
        self._explain(tag, step, place)
        return size

    def _explain(self, tag: str, step: int, place: Place) -> None:
        """Say once how steps that repeat or go back are shown, and how to get one curve."""
        formula = "step = round * steps_per_round + step_in_round"
        if place.repeats:
            self._repeats[tag] = self._repeats.get(tag, 0) + 1
            if self._repeats[tag] == 2 and self._is_new("repeats"):  # the third point: a round's number, most probably
                log.warning(
                    "%s: %r has several points at step %d; TensorBoard shows them one after another. "
                    "For an x axis of batches log %s",
                    self._folder.name,
                    tag,
                    step,
                    formula,
                )
        elif place.number in (1, 2) and step == 0 and self._is_new(f"pass {place.number}"):
            log.log(
                logging.WARNING if place.number == 2 else logging.INFO,
                "%s: the steps of %r began at 0 again; TensorBoard shows these points in the run %s. For one curve "
                'create the writer with steps="continue", or log %s',
                self._folder.name,
                tag,
                _pass_folder(Path(self._folder.name), place.number),
                formula,
            )

    def _is_new(self, subject: str) -> bool:
        new = subject not in self._said
        self._said.add(subject)
        return new

    def _commit(self) -> None:
        # In ascending order, so that after a crash every pass has all passes before it.
        for run in self._runs:
            run.commit()

    def _recover(self, index: int) -> None:
        for stream, seq, event in self._run(index).events():
            self._written.setdefault(stream, SequenceSet()).add(seq)
            self._note(event, *identify(event), index)

    def _note(self, event: Event, tag: str, kind: Kind, index: int) -> None:
        self._passes.add(tag, kind, event.step, index, given_step_of(event))
        if kind == "scalar" and (metric := layout.metric_of(tag)):
            self._bands.setdefault(metric, event.wall_time)
        if kind == "param":
            self._started = self._started or event.wall_time
            self._params[tag.removeprefix(PARAM_PREFIX)] = value_of_param(event)

    def _run(self, index: int) -> RunFolder:
        while len(self._runs) <= index:
            self._runs.append(RunFolder(_pass_folder(self._folder, len(self._runs))))
        return self._runs[index]


def count_scalars(folder: Path) -> int:
    """Return how many scalars are in all passes of a site."""
    passes = (RunFolder(_pass_folder(folder, index)) for index in range(_count_passes(folder)))
    return sum(identify(event)[1] == "scalar" for run in passes for _, _, event in run.events())


def _pass_folder(folder: Path, index: int) -> Path:
    return folder / f"pass-{index + 1}" if index else folder


def _count_passes(folder: Path) -> int:
    count = 0
    while _pass_folder(folder, count).is_dir():
        count += 1
    return count
