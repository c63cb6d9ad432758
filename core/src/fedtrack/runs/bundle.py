"""Bundle: a run in one file, for somebody who audits it later and elsewhere.

It is a zip archive: the summary, the frames of every stream as the journal has them, the release logs of the sites, the
hashes of the models, and ``manifest.json`` with the SHA-256 of every other file. The server signs the manifest if it
has a key.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import file_digest, sha256
from pathlib import Path
from time import time_ns
from typing import Any

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.files import unwritable, written_beside
from fedtrack.runs.release_logs import find_logs
from fedtrack.runs.result import SUMMARY_FILE
from fedtrack.runs.stored_run import StoredRun
from fedtrack.seals.site_key import SiteKey
from fedtrack.tracking.events import SERVER

MANIFEST, SIGNATURE, MODELS, LOG = "manifest.json", "manifest.signature.json", "models.json", "release_log.jsonl"
FORMAT = 1


class Manifest(msgspec.Struct):
    """The content of a bundle.

    Attributes:
        format: The version of this format.
        run_id: The run.
        made_ns: When the bundle was made, nanoseconds since the epoch.
        files: The SHA-256 of each other file.
        pruned: Events that were deleted from the journal before, because every receiver had them.
    """

    format: int
    run_id: str
    made_ns: int
    files: dict[str, str]
    pruned: int = 0


class Signature(msgspec.Struct):
    """The server's signature of the manifest's bytes; both are hex."""

    key: str
    signature: str


def bundle(run: StoredRun, target: Path) -> Manifest:
    """Write the bundle of a run that is over.

    Args:
        run: The run.
        target: The file; must not exist.

    Raises:
        ConfigError: The file exists, or the run has no journal here.
        WorkspaceError: It cannot be written.
    """
    from fedtrack.runs.rows import pruned

    if target.exists():
        raise ConfigError(f"{str(target)!r} exists; name a new file.")
    if run.record is None:
        raise ConfigError(f"The run in {str(run.base)!r} never began; there is nothing to bundle.")
    found = Manifest(FORMAT, run.record.run_id, time_ns(), {}, pruned(run))
    try:
        with written_beside(target) as temporary, zipfile.ZipFile(temporary, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, data in _files(run):
                archive.writestr(name, data)
                found.files[name] = sha256(data).hexdigest()
            manifest = msgspec.json.encode(found)
            archive.writestr(MANIFEST, manifest)
            key = SiteKey.find(SERVER)
            if key is not None:
                archive.writestr(SIGNATURE, msgspec.json.encode(Signature(key.public, key.sign(manifest))))
    except OSError as error:
        raise unwritable(str(target), error) from None
    return found


def _files(run: StoredRun) -> Iterator[tuple[str, bytes]]:
    summary = run.folder / SUMMARY_FILE
    if summary.exists():
        yield SUMMARY_FILE, summary.read_bytes()
    for site, path in find_logs(run.base).items():
        yield f"sites/{site}/{LOG}", path.read_bytes()
    yield MODELS, msgspec.json.encode(_models(run))
    yield from _streams(run)


def _streams(run: StoredRun) -> Iterator[tuple[str, bytes]]:
    """Yield the frames of one stream after the other: a run may be larger than the memory, a stream seldom is."""
    with ExitStack() as stack:
        journal, _ = stack.enter_context(run.stores(SERVER))
        for row in journal.streams():
            if not row.last or row.site.startswith("@"):
                continue
            parts: list[bytes] = []
            after = 0
            while batches := journal.read(after):
                parts += [batch.body for batch in batches if (batch.site, batch.stream) == (row.site, row.stream)]
                after = batches[-1].id
            yield f"sites/{row.site}/{row.stream}.frames", b"".join(parts)


def _models(run: StoredRun) -> dict[str, Any]:
    """Return the SHA-256 of each model of the server, and for each round the sites whose results it is made of."""
    models = {}
    for path in sorted(run.folder.rglob("*.safetensors")):
        with path.open("rb") as file:
            models[path.relative_to(run.folder).as_posix()] = file_digest(file, "sha256").hexdigest()
    rounds = [{"round": one.current_round, "sites": one.sites} for one in run.result.rounds] if run.result else []
    return {"models": models, "rounds": rounds}
