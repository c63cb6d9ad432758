"""Forget: removes everything that a run holds of one site, and names what it cannot reach."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from shlex import quote

import msgspec

from fedtrack.delivery.addressed import addressed
from fedtrack.delivery.forgetting import forget_deliveries, passed_of
from fedtrack.delivery.label import receiver_label
from fedtrack.delivery.ledger import Ledger
from fedtrack.errors import ConfigError, FedtrackError, WorkspaceError
from fedtrack.files import write_whole
from fedtrack.journal.batches import StoredBatch
from fedtrack.journal.forgetting import Passed, Tombstone
from fedtrack.journal.journal import Journal
from fedtrack.runs.replay import receivers_of
from fedtrack.runs.result import SUMMARY_FILE
from fedtrack.runs.stored_run import StoredRun
from fedtrack.runs.stored_tally import logs_still
from fedtrack.runs.worker_folders import spool_of, worker_folders
from fedtrack.spool.frames import split
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.records import BlobRef, TaskRecord, decode
from fedtrack.view.points import PREFIX as ACROSS_SITES

_STORES = ("journal.db", "delivery.db")

#: What a page keeps of a journal, and makes again of what the journal still has.
_VIEWS = ("view.db", "view.db-wal", "view.db-shm")


@dataclass
class Forgotten:
    """What was removed, and what is left elsewhere.

    Attributes:
        events: Events that the journal had.
        files: Files that were deleted.
        left: What this command cannot reach, each as a sentence.
    """

    events: int
    files: int = 0
    left: list[str] = field(default_factory=list)


def forget(run: StoredRun, site: str) -> Forgotten:
    """Remove a site's records from a run: journal, ledger, spool, large values, and the run's summary.

    A second call after a first one that was killed ends its work. Nothing of the site is taken any more.

    Raises:
        ConfigError: The run has no such site.
        WorkspaceError: A server or another command works on the run, the site still logs, or its records are in spools
            that it shares with other sites.
    """
    if site == SERVER:
        raise ConfigError("The server is no site; name a site of `fedtrack runs show`.")
    with run.locked():
        _check(run, site)
        found = Forgotten(0)
        for node in run.journaling_nodes():
            if node == site:
                continue  # its own journal is in its folder, which goes below
            with run.stores(node, write=True) as (journal, ledger):
                stone = _forget_in(run, node, site, journal, ledger)
                found.events += stone.events
                found.left += _held(run, node, stone)
                found.left += [f"{path}, a copy that another command has kept" for path in _copies(run, node)]
                evidence = run.node(node) / "release_logs" / f"{site}.jsonl"
                if evidence.exists():
                    found.left.append(f"{evidence}, the site's own record of what it released")
        found.left += _named_by_server(run, site)
        found.files += _delete_files(run, site)
        for name in _VIEWS:
            (run.folder / name).unlink(missing_ok=True)
        _forget_in_summary(run, site)
        return found


def _check(run: StoredRun, site: str) -> None:
    if SERVER not in run.journaling_nodes():
        raise ConfigError(f"{str(run.base)!r} has no journal of its server, so there is nothing to forget in it.")
    with run.journal() as journal:
        known = {*run.sites(), *journal.forgotten.all(), *(stored.site for stored in journal.streams())}
    if site not in known:
        raise ConfigError(f"The run has no site {site!r}; `fedtrack runs show {run.base}` lists them.")
    if logs_still(run, site):
        raise WorkspaceError(f"A process of {site!r} is alive and still logs; end it first.")
    if any(any(spool_of(folder).glob("*.spool")) for folder in worker_folders(run.workers)):
        raise WorkspaceError(
            f"Records of {site!r} may be in the spool of a process that worked for many sites; first bring them into "
            f"the journal: fedtrack runs replay {quote(str(run.base))}."
        )


def _forget_in(run: StoredRun, node: str, site: str, journal: Journal, ledger: Ledger) -> Tombstone:
    """Forget the site in one journal and its ledger; the tombstone says what is still to be done, if this is killed."""
    stone = journal.forgotten.all().get(site)
    rows = [stored for stored in journal.streams() if stored.site == site]
    if stone is None or rows:
        stone = journal.forgotten.forget(site, _passed(run, node, site, journal, ledger), _blobs(journal, site))
    forget_deliveries(ledger, site, stone)
    for digest in stone.blobs:
        (run.node(node) / "blobs" / digest).unlink(missing_ok=True)
    owner = hashlib.sha256(site.encode()).hexdigest()[:16]
    for part in (run.node(node) / "blobs").glob(f".{owner}-*.part"):  # of a value that has not arrived as a whole
        part.unlink(missing_ok=True)
    journal.forgotten.end(site, stone)
    return stone


def _passed(run: StoredRun, node: str, site: str, journal: Journal, ledger: Ledger) -> dict[str, Passed]:
    receivers = _receivers(run, node)
    info = run.info(node, tuple(run.sites()))
    batches = partial(_batches, journal, site)
    return {
        id_: passed_of(site, id_, receivers.get(id_), cursor, ledger, batches, journal.pruned(site))
        for id_, cursor in ledger.cursors().items()
        if id_ not in receivers or addressed(info, receivers[id_])(site)
    }


def _receivers(run: StoredRun, node: str) -> dict[str, Receiver]:
    try:
        return dict(receivers_of(run).get(node, {}))
    except FedtrackError:  # of a plugin that is no longer installed
        return {}


def _batches(journal: Journal, site: str | None) -> Iterator[StoredBatch]:
    after = 0
    while batches := journal.read(after):
        yield from (batch for batch in batches if site is None or batch.site == site)
        after = batches[-1].id


def _blobs(journal: Journal, site: str) -> list[str]:
    """Return the files to which only records of the site refer."""
    own: set[str] = set()
    others: set[str] = set()
    for batch in _batches(journal, None):
        (own if batch.site == site else others).update(_digests(batch))
    return sorted(own - others)


def _decoded(batch: StoredBatch) -> Iterator[object]:
    """Yield the batch's records, without those of a kind that only a newer version knows."""
    for _, payload in split(batch.body):
        with suppress(msgspec.DecodeError):
            yield decode(payload)


def _digests(batch: StoredBatch) -> Iterable[str]:
    for record in _decoded(batch):
        for data in (getattr(record, "text", None), getattr(record, "data", None)):
            if isinstance(data, BlobRef):
                yield data.sha256


def _held(run: StoredRun, node: str, stone: Tombstone) -> list[str]:
    """Say which backends have taken events of the site: only their owner can delete there."""
    result = run.result
    places = {one.label: one.location for one in result.receivers.values()} if result else {}
    found = []
    for id_, passed in stone.receivers.items():
        label = receiver_label(node, id_)
        if passed.delivered:
            where = f" ({places[label]})" if places.get(label) else ""
            found.append(f"{label}{where} has taken {passed.delivered:,} of its events; delete them there")
    return found


def _named_by_server(run: StoredRun, site: str) -> list[str]:
    """Say what the server has logged itself about the site: it is part of the server's stream, and stays."""
    tasks = views = 0
    with run.journal() as journal:
        for batch in _batches(journal, SERVER):
            for record in _decoded(batch):
                tasks += isinstance(record, TaskRecord) and site in record.sites
                key = getattr(record, "key", "")
                views += key.startswith((f"{ACROSS_SITES}/", f"sites/{site}/"))
    left = []
    if tasks:
        left.append(f"the server's own records of {tasks:,} task{'s' * (tasks != 1)}, with what it returned")
    if views:
        left.append(f"the server's {views:,} values across the sites, of which its values are a part")
    return left


def _copies(run: StoredRun, node: str) -> list[str]:
    """Return files beside the journal and the ledger with an earlier state of them."""
    folder = run.node(node)
    names = {f"{stem}{end}" for stem in ("journal.db", "delivery.db") for end in ("", "-wal", "-shm")}
    return sorted(
        str(path) for stem in ("journal", "delivery") for path in folder.glob(f"{stem}.db*") if path.name not in names
    )


def _delete_files(run: StoredRun, site: str) -> int:
    """Delete the site's spool and what else its folder has."""
    folder = run.node(site)
    if not folder.is_dir():
        return 0
    files = sum(path.is_file() for path in folder.rglob("*"))
    shutil.rmtree(folder)
    if folder.parent != run.base:
        with suppress(OSError):  # it has what is no part of the run
            folder.parent.rmdir()
    return files


def _forget_in_summary(run: StoredRun, site: str) -> None:
    """Take the site, and the text of its error, out of the run's summary and of those of earlier attempts."""
    for path in run.folder.glob(f"{Path(SUMMARY_FILE).stem}*.json"):
        try:
            summary = msgspec.json.decode(path.read_bytes())
        except msgspec.MsgspecError:
            raise WorkspaceError(f"{path} cannot be read, and may name {site!r}; delete it, and try again.") from None
        summary["sites"] = {name: one for name, one in summary.get("sites", {}).items() if name != site}
        summary["gaps"] = [gap for gap in summary.get("gaps", []) if gap[0] != site]
        summary["waiting"] = {name: why for name, why in summary.get("waiting", {}).items() if name != site}
        write_whole(path, msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
