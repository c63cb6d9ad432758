"""RunResult: the result of a run; also the content of ``run_summary.json``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedtrack.delivery.label import split_label
from fedtrack.delivery.report import ReceiverTally
from fedtrack.files import write_whole
from fedtrack.json_text import read_json_file
from fedtrack.redaction import redact
from fedtrack.runs.tally import SiteTally, events_complete

SUMMARY_FILE = "run_summary.json"


class RoundSummary(msgspec.Struct):
    """One round; keys are only ever added.

    Attributes:
        current_round: Counted from 0.
        metrics: Weighted mean of the sites' metrics of the model that entered the round; None where it is not finite.
        sites: The sites whose results were averaged.
        seconds: How long it took.
        bytes: Bytes of parameters that server and sites sent to each other.
        steps: The optimizer steps behind the averaged results; None in a summary of an older version.
    """

    current_round: int
    metrics: dict[str, float | None]
    sites: list[str]
    seconds: float
    bytes: int
    steps: float | None = None


class RunResult(msgspec.Struct):
    """The result of a run.

    Attributes:
        run_id: The run's id.
        job_name: The job's name.
        status: ``completed``, ``failed`` or ``aborted``.
        error: Why it is not completed, or "".
        workspace: The folder that the run was given.
        folder: The folder of the server's results in it.
        seconds: From the start of the command to the closing of the last receiver.
        rounds: Each finished round.
        final_metrics: The sites' metrics of the last model, if the job asked for them.
        cross_site: The results of the last cross-site evaluation, as {data site: {model owner: {metric: value}}}; None
            where a value is not finite.
        key_metric: The metric that decides which model is the best, or "".
        best_round: How many rounds had been trained when the best model was found; None if no model was selected.
        sites: Each site, and the server's own records under ``server``.
        receivers: Each receiver by its id; a site's own under ``<site>/<id>``.
        gaps: Damaged or lost ranges: (site, reason).
        waiting: Why records of a site are in its spool and not in the journal, by site; a replay tries again.
        cross_site_tables: The results of each cross-site evaluation, by the workflow's id in the job.
        counted_ns: When the counts were taken, nanoseconds since the epoch; 0 in a summary of an older version. What a
            process of a site has logged since, or a receiver has taken, is in their files only: see ``tally_of``.
        policies: What the records of each site are released under, if it has a policy: its SHA-256.
    """

    run_id: str
    job_name: str
    status: str
    error: str
    workspace: Path
    folder: Path
    seconds: float
    rounds: list[RoundSummary]
    final_metrics: dict[str, float | None]
    best_round: int | None
    sites: dict[str, SiteTally]
    receivers: dict[str, ReceiverTally]
    gaps: list[tuple[str, str]]
    cross_site: dict[str, dict[str, dict[str, float | None]]] = {}
    key_metric: str = ""
    waiting: dict[str, str] = {}
    cross_site_tables: dict[str, dict[str, dict[str, dict[str, float | None]]]] = {}
    counted_ns: int = 0
    policies: dict[str, str] = {}

    @property
    def events_complete(self) -> bool:
        """Whether every log call is known to be where it belongs; see ``Tally.events_complete``."""
        return events_complete(self.sites, self.gaps, self.waiting)

    @property
    def unserved(self) -> list[str]:
        """The labels of the receivers that got none of the events that they can hold."""
        return [
            label
            for label, one in self.receivers.items()
            if not one.delivered and one.pending + one.dead and one.not_supported < (one.addressed or one.seen)
        ]

    @property
    def exit_code(self) -> int:
        """The exit code of a program that has run the job: 0 if it is completed and all went where it belongs, else 1.

        Log calls that are lost or not known to have arrived, and a receiver that got nothing, count as failures.
        """
        return int(self.status != "completed" or bool(self.unserved) or not self.events_complete)

    @property
    def run(self) -> Path:
        """The folder that commands about this run take, also when another run uses the workspace."""
        return self.folder.parent.parent

    def moved(self, workspace: Path, folder: Path) -> RunResult:
        """Return and save the result with the new paths of its files, in ``folder`` of ``workspace``."""
        before, after = str(self.folder), str(folder)
        receivers = {
            id_: msgspec.structs.replace(
                receiver,
                location=receiver.location.replace(before, after),
                command=receiver.command.replace(before, after),
            )
            for id_, receiver in self.receivers.items()
        }
        moved = msgspec.structs.replace(self, workspace=workspace, folder=folder, receivers=receivers)
        moved.save()
        return moved

    def save(self) -> Path:
        """Write ``run_summary.json`` into the run's folder and return its path.

        Raises:
            WorkspaceError: The disk is full; an earlier summary stays.
        """
        path = self.folder / SUMMARY_FILE
        text = redact(msgspec.json.encode(self, enc_hook=str).decode())
        write_whole(path, msgspec.json.format(text.encode(), indent=2) + b"\n")
        return path

    @staticmethod
    def load(path: Path) -> RunResult:
        """Read a ``run_summary.json``, also of an earlier version."""
        result = read_json_file(path, RunResult, dec_hook=lambda type_, value: type_(value))
        for label, receiver in result.receivers.items():
            receiver.id = receiver.id or split_label(label)[1]
        return result
