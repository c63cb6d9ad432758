"""WandBReceiver: one W&B run per site, all in one group."""

from __future__ import annotations

import logging
import shlex
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar

from fedtrack import Batch, Permanent, Receiver, Results, RunInfo, Transient
from fedtrack.files import scratch_folder
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Record, Tag, Text
from fedtrack_wandb import credentials, names, rows
from fedtrack_wandb.arguments import init_arguments, project_page
from fedtrack_wandb.core_process import CORE, finish_all, place_media
from fedtrack_wandb.options import WandBArgs, WandBOptions, check_args
from fedtrack_wandb.redelivery import Progress
from fedtrack_wandb.site_run import Refused, SiteRun
from fedtrack_wandb.transaction_log import count_points

log = logging.getLogger(__name__)

#: Seconds that a flush waits for wandb-core to write its file, which it does several times a second.
FLUSH_PATIENCE = 2.0


class WandBReceiver(Receiver):
    """Shows every site as a run of its own in Weights & Biases."""

    name = "wandb"
    summary = "Weights & Biases: one run per site, offline files or online"
    supports = frozenset({Metric, Param, Tag, Text, Image, Histogram, Artifact})
    aliases = ("nvflare.app_opt.tracking.wandb.wandb_receiver.WandBReceiver",)
    requires = ("wandb", "PIL")
    install = "pip install 'fedtrack[wandb]'"
    Options: ClassVar[type[WandBOptions]] = WandBOptions
    options: WandBOptions

    # Short, because a flush waits for wandb-core's next write anyway.
    gather_seconds = 0.05

    def __init__(self, *args: object, **kwargs: object) -> None:
        check_args(args, kwargs)
        super().__init__(*args, **kwargs)
        self._info: RunInfo | None = None
        self._open = False
        self._base_url = ""
        self._page = ""
        self._scratch = Path()
        self._cleanup = ExitStack()
        self._runs: dict[str, SiteRun] = {}
        self._progress: defaultdict[tuple[str, str], Progress] = defaultdict(Progress)

    @property
    def args(self) -> WandBArgs:
        """The arguments that are passed on to ``wandb.init``."""
        return self.options.wandb_args

    def open(self, run: RunInfo) -> None:
        """Find the credentials; the run of a site starts with the site's first record.

        Raises:
            Transient: Online mode without credentials, or a folder that cannot be written.
        """
        if self.options.mode == "disabled" or self._open:
            return
        if self.options.mode == "online":
            self._base_url = credentials.base_url()
            credentials.require(self._base_url)
            self._page = project_page(self.options, run, self._base_url)
        try:
            (run.folder / "wandb").mkdir(mode=0o700, parents=True, exist_ok=True)
            self._scratch = self._cleanup.enter_context(scratch_folder(run.folder))
        except OSError as error:
            raise Transient(f"W&B's files cannot be written below {run.folder}: {error}.") from error
        CORE.acquire()
        self._info, self._open = run, True
        if self.options.mode == "offline":
            # A warning, because a user may expect a page on the W&B server.
            log.warning("W&B runs offline: its files are in %s; nothing is uploaded", run.folder / "wandb")

    def receive(self, batch: Batch) -> None:
        """Hand the batch to the site's run, without the records that this receiver has handed over before.

        Raises:
            Transient: wandb-core or the W&B server cannot take the batch now.
            Permanent: W&B refuses some records; it has taken all others.
        """
        if self._info is None:
            return
        run = self._run_of(self._info, batch.site)
        progress = self._progress[batch.site, batch.stream]
        for group in rows.join((position, batch.records[position]) for position in progress.unseen(batch)):
            try:
                _add(run, [record for _, record in group])
            except Refused as error:
                progress.refused |= {batch.seqs[position]: str(error) for position, _ in group}
            progress.advance(batch, group[-1][0])
        run.ensure()
        if refused := progress.report(batch):
            raise Permanent("; ".join(sorted(set(refused.values()))), refused)

    def flush(self) -> None:
        """Wait until wandb-core has all records, and then up to two seconds until the runs' files have them.

        Raises:
            Transient: wandb-core has died and cannot be replaced now.
        """
        for run in self._runs.values():
            run.sync()
        deadline = time.monotonic() + FLUSH_PATIENCE
        for run in self._runs.values():
            run.wait_written(deadline)

    def close(self, status: str) -> None:
        """End the sites' runs, and wait up to ``process_timeout`` for their uploads."""
        if not self._open:
            return
        alive = []
        for run in self._runs.values():
            try:
                run.sync()
                alive.append(run)
            except Transient as error:
                log.warning("W&B run %s was not ended: %s", run, error)
                break  # every other one would wait as long and fail too
        exit_code = 0 if status == "completed" else 1
        finish_all([partial(run.finish, exit_code) for run in alive])
        CORE.release()
        self._cleanup.close()
        self._open = False

    def count(self, sites: Sequence[str]) -> dict[str, int] | None:
        """Count the points in the offline files; None in online mode, where the rows are on a server."""
        if self._info is None or self.options.mode != "offline":
            return None
        folder, run_id = self._info.folder / "wandb", self._info.run_id
        return {site: count_points(folder, names.run_id(run_id, site)) for site in sites}

    def results(self) -> Results | None:
        """Return the project's page, or the folder in offline mode, and the command that uploads the local files."""
        if self._info is None:
            return None
        folder = self._info.folder / "wandb"
        if self.options.mode == "online":
            urls = (run.project_url for run in self._runs.values())
            left = [shlex.quote(str(run.folder)) for run in self._runs.values() if run.incomplete]
            return Results(next(filter(None, urls), self._page), f"wandb sync {' '.join(left)}" if left else "")
        return Results(str(folder), f"wandb sync {shlex.quote(str(folder))}/offline-run-*")

    def _run_of(self, info: RunInfo, site: str) -> SiteRun:
        if site not in self._runs:
            arguments = init_arguments(self.options, info, site, self._base_url)
            place_media(info.folder / "wandb-media")
            self._runs[site] = SiteRun(CORE, arguments, info.blobs, self._scratch)
        return self._runs[site]


def _add(run: SiteRun, group: list[Record]) -> None:
    first = group[0]
    if isinstance(first, Param | Tag):
        run.add_setting(first)
    elif isinstance(first, Artifact):
        run.add_artifact(first)
    else:
        run.add_row(tuple(group))  # type: ignore[arg-type]  # join() puts only metrics together
