"""TBAnalyticsReceiver: puts records into TensorBoard event files, one run per site."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedtrack import Batch, Receiver, ReceiverOptions, Results, RunInfo
from fedtrack.errors import Permanent, Transient
from fedtrack.tracking import SERVER
from fedtrack.tracking.records import KINDS
from fedtrack_tensorboard.site_folder import folder_name

if TYPE_CHECKING:
    from fedtrack_tensorboard.site_log import SiteLog


#: The beginning of the tags of the server's scalars.
GLOBAL_PREFIX = "global/"


class TBOptions(ReceiverOptions, kw_only=True, forbid_unknown_fields=True):
    """Options of TBAnalyticsReceiver.

    Attributes:
        tb_folder: Folder of the event files: absolute, or relative to the folder of the run.
    """

    tb_folder: str = "tb_events"


class TBAnalyticsReceiver(Receiver):
    """Writes the records of each site into ``<tb_folder>/<site>``, each record exactly once.

    Steps that go back within a tag go to ``<tb_folder>/<site>/pass-2`` and so on, because TensorBoard forgets points
    when a step goes back; see ``fedtrack_tensorboard.passes``. A point that was logged without a step gets the next
    number of its tag. The server's scalars are over rounds, so their tags begin with ``global/``: under the tag of the
    sites, which count batches, they would be a few points at the left edge of the chart. Artifacts are files in
    ``<tb_folder>/<site>/artifacts``.
    """

    name = "tensorboard"
    summary = "TensorBoard event files, one run per site"
    supports = frozenset(KINDS.values())
    aliases = ("nvflare.app_opt.tracking.tb.tb_receiver.TBAnalyticsReceiver",)
    requires = ("tensorboard", "google_crc32c")
    install = "pip install 'fedtrack[tensorboard]'"
    folder_argument = "tb_folder"
    Options = TBOptions

    options: TBOptions

    # A call costs only one write to a file, so calls may be frequent: curves on a screen grow without delay.
    gather_seconds = 0.05

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sites: dict[str, SiteLog] = {}

    def open(self, run: RunInfo) -> None:
        """Create the folder, or adopt the files that an earlier process wrote there.

        Raises:
            Transient: The folder cannot be created.
        """
        from fedtrack_tensorboard.site_log import SiteLog

        self._new_site = SiteLog
        self._blobs = run.blobs
        self._folder = run.folder.absolute() / self.options.tb_folder
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Transient(f"{self._folder} cannot be created: {error}") from error

    def receive(self, batch: Batch) -> None:
        """Write the records; they survive SIGKILL when the call returns.

        Raises:
            Transient: The files cannot be written now.
            Permanent: A record's data is damaged, or an artifact's path cannot be a file.
        """
        # After a failure only the files say which records are written, and the next call reads them again.
        site = self._sites.pop(batch.site, None)
        try:
            prefix = GLOBAL_PREFIX if batch.site == SERVER else ""
            site = site or self._new_site(self._folder / folder_name(batch.site), self._blobs, prefix)
            refused = site.write(batch)
        except OSError as error:
            raise Transient(f"TensorBoard events of {batch.site} cannot be written: {error}") from error
        self._sites[batch.site] = site
        if refused:
            reasons = list(dict.fromkeys(refused.values()))
            more = f" ({len(reasons) - 1} other reasons)" if len(reasons) > 1 else ""
            raise Permanent(reasons[0] + more, refused)

    def flush(self) -> None:
        """Bring the HPARAMS and CUSTOM SCALARS tabs up to date; everything else is durable already.

        Raises:
            Transient: The file cannot be written now.
        """
        try:
            for name, site in self._sites.items():
                site.show_params()
                if name == SERVER:
                    site.show_layout()
        except OSError as error:
            raise Transient(f"Parameters in {self._folder} cannot be written: {error}") from error

    def count(self, sites: Sequence[str]) -> dict[str, int]:
        """Count the scalars in the event files.

        Raises:
            Transient: The files cannot be read now.
        """
        from fedtrack_tensorboard.site_log import count_scalars

        try:
            return {site: count_scalars(self._folder / folder_name(site)) for site in sites}
        except OSError as error:
            raise Transient(f"TensorBoard events in {self._folder} cannot be read: {error}") from error

    def results(self) -> Results:
        """Return the folder and the command that shows it."""
        return Results(str(self._folder), f"tensorboard --logdir {shlex.quote(str(self._folder))}")
