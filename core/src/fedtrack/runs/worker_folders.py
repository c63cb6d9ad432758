"""Worker folders: the folders of the processes that work for many sites."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from fedtrack.journal.journal import Journal
from fedtrack.tracking.blobs import BlobStore
from fedtrack.transport.guard import Guard
from fedtrack.transport.shared_source import SharedSource


def worker_folders(workers: Path) -> Iterator[Path]:
    """Yield the folders of all workers that a run has had."""
    return workers.glob("worker-*")


def next_worker_folder(workers: Path) -> Path:
    """Create the folder of one more worker.

    A worker that replaces a dead one has a number and files of its own, also in a resumed run.
    """
    folder = workers / f"worker-{1 + sum(1 for _ in worker_folders(workers))}"
    Path(os.path.realpath(folder)).mkdir(mode=0o700, parents=True)  # ``workers`` may be a link to nothing yet
    return folder


def worker_name(folder: Path) -> str:
    """Return the name of the worker with this folder; no site can have it."""
    return f"@{folder.name}"


def spool_of(folder: Path) -> Path:
    """Return the spool of the worker with this folder, for the records of its sites."""
    return folder / "spool"


def worker_source(
    folder: Path,
    journal: Journal,
    blobs: BlobStore,
    sites: Collection[str],
    guards: Callable[[str], Guard | None] | None = None,
) -> SharedSource:
    """Return the reader of a worker's spool; see SharedSource."""
    return SharedSource(worker_name(folder), spool_of(folder), journal, blobs, sites, guards=guards)
