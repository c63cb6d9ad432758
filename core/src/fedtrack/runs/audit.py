"""Audit: reads a bundle without the run, and says of each site what is proven and what is not."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from fedtrack.errors import ConfigError, DamagedError
from fedtrack.runs.bundle import FORMAT, LOG, MANIFEST, MODELS, SIGNATURE, Manifest, Signature
from fedtrack.seals import chain
from fedtrack.seals.release_log import Line, read_lines
from fedtrack.seals.site_key import is_signed
from fedtrack.spool import frames
from fedtrack.tracking.events import SERVER

#: A file of a bundle that claims to be larger than this is not unpacked.
_MOST_BYTES = 16 * 1024**3


@dataclass
class SiteAudit:
    """What a bundle proves of one site.

    Attributes:
        site: The site.
        records: Its events in the bundle.
        sealed: Those that its release log has, with the right chain.
        refused: Records that its agent refused.
        policies: What they were released under.
        keys: The keys that have signed, in hex.
        faults: What is not as the site has written it: sentences that name the interval.
    """

    site: str
    records: int = 0
    sealed: int = 0
    refused: int = 0
    policies: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@dataclass
class Audit:
    """What a bundle proves.

    Attributes:
        run_id: The run.
        sites: Each site.
        server_key: The key with which the server has signed the bundle, in hex, or "".
        faults: What is wrong with the bundle itself.
    """

    run_id: str
    sites: list[SiteAudit]
    server_key: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing was changed, and every site with a release log has signed."""
        return not self.faults and not any(site.faults for site in self.sites)


def audit(path: Path, keys: Mapping[str, str] | None = None) -> Audit:
    """Check a bundle.

    Args:
        path: The bundle.
        keys: The public keys that sites, and ``server``, are known to have, in hex; without it, that which a log names
            is believed.

    Raises:
        ConfigError: The file is no bundle.
    """
    known = dict(keys or {})
    try:
        with zipfile.ZipFile(path) as archive:
            return _audited(archive, known)
    except (OSError, zipfile.BadZipFile, KeyError, NotImplementedError, msgspec.MsgspecError, EOFError) as error:
        raise ConfigError(f"{str(path)!r} is no bundle of a run, or is damaged: {error}.") from None


def _audited(archive: zipfile.ZipFile, known: Mapping[str, str]) -> Audit:
    if sum(info.file_size for info in archive.infolist()) > _MOST_BYTES:
        raise ConfigError(f"The bundle unpacks to more than {_MOST_BYTES:,} bytes; it is not read.")
    data = archive.read(MANIFEST)
    manifest = msgspec.json.decode(data, type=Manifest)
    if manifest.format > FORMAT:
        raise ConfigError(f"The bundle has format {manifest.format}, this version reads up to {FORMAT}; upgrade it.")
    found = Audit(manifest.run_id, [])
    _check_signature(archive, data, known.get(SERVER), found)
    names = [name for name in archive.namelist() if name not in (MANIFEST, SIGNATURE)]
    for name in sorted({*names, *manifest.files}):
        if names.count(name) != 1 or name not in manifest.files:
            found.faults.append(f"{name} is missing, is there twice, or is not in the manifest")
        elif sha256(archive.read(name)).hexdigest() != manifest.files[name]:
            found.faults.append(f"{name} was changed after the bundle was made")
    sites = sorted({name.split("/")[1] for name in names if name.startswith("sites/") and name.count("/") == 2})
    for site in sites:
        if site != SERVER:
            found.sites.append(_site(archive, site, names, known.get(site)))
    if MODELS not in names:
        found.faults.append(f"{MODELS} is missing")
    return found


def _check_signature(archive: zipfile.ZipFile, manifest: bytes, key: str | None, found: Audit) -> None:
    if SIGNATURE not in archive.namelist():
        if key is not None:
            found.faults.append("the server has not signed the bundle")
        return
    signature = msgspec.json.decode(archive.read(SIGNATURE), type=Signature)
    if key not in (None, signature.key) or not is_signed(signature.key, signature.signature, manifest):
        found.faults.append("the manifest's signature is not that of the server's key")
    found.server_key = signature.key


def _site(archive: zipfile.ZipFile, site: str, names: list[str], key: str | None) -> SiteAudit:
    found = SiteAudit(site)
    streams: dict[str, list[tuple[int, bytes]]] = {}
    for name in names:
        if name.startswith(f"sites/{site}/") and name.endswith(".frames"):
            stream = name.rsplit("/", 1)[1].removesuffix(".frames")
            streams[stream] = _records(archive.read(name), stream, found)
    found.records = sum(frames.is_event(payload) for records in streams.values() for _, payload in records)
    log = f"sites/{site}/{LOG}"
    if log not in names:
        found.faults.append("it has no release log: whoever had the run could have changed its records")
        return found
    try:
        lines, _ = read_lines(archive.read(log), log)
    except DamagedError as error:
        found.faults.append(str(error))
        return found
    _check_lines(site, lines, streams, found)
    _check_signatures(lines, key, found)
    return found


def _records(body: bytes, stream: str, found: SiteAudit) -> list[tuple[int, bytes]]:
    """Return the intact records of a stream in the order of the file; what is not intact is a fault."""
    records: list[tuple[int, bytes]] = []
    try:
        scanned = frames.scan(body, frames.salt_of(stream), previous=0, after_seq=0, final=True)
    except ValueError:
        found.faults.append(f"{stream!r} is no stream")
        return records
    for part in scanned.parts:
        if isinstance(part, frames.FrameRange):
            records += [(seq, bytes(payload)) for seq, payload in frames.split(part.body)]
        else:
            behind = records[-1][0] if records else 0
            found.faults.append(f"stream {stream}: behind record {behind}, {part.end - part.start} bytes are no record")
    return records


def _check_lines(
    site: str, lines: list[Line], streams: Mapping[str, list[tuple[int, bytes]]], found: SiteAudit
) -> None:
    heads = {stream: chain.start(site, stream) for stream in streams}
    reached = dict.fromkeys(streams, 0)
    for line in lines:
        if line.site:
            found.policies.append(line.policy)
        if not line.stream:
            continue
        found.refused += line.refused
        where = f"stream {line.stream}, records {line.first} to {line.last}"
        where += "" if line.round is None else f" of round {line.round}"
        if line.stream not in streams:
            found.faults.append(f"{where}: the whole stream is missing")
            continue
        part = [one for one in streams[line.stream] if reached[line.stream] < one[0] <= line.last]
        head = chain.extended(heads[line.stream], part)
        if head.hex() != line.head:
            found.faults.append(f"{where}: not as the site has let them out: changed, missing, added or moved")
        else:
            found.sealed += sum(frames.is_event(payload) for _, payload in part)
        heads[line.stream], reached[line.stream] = bytes.fromhex(line.head), line.last
    for stream, records in streams.items():
        beyond = [seq for seq, _ in records if seq > reached[stream]]
        if beyond:
            found.faults.append(f"stream {stream}, records {beyond[0]} to {beyond[-1]}: not in the release log")


def _check_signatures(lines: list[Line], key: str | None, found: SiteAudit) -> None:
    signed = [(number, line) for number, line in enumerate(lines, start=1) if line.signature]
    for number, line in signed:
        if key not in (None, line.key) or not is_signed(line.key, line.signature, bytes.fromhex(line.prev)):
            found.faults.append(f"line {number} of the release log: the signature is not that of the site's key")
    found.keys = sorted({line.key for _, line in signed})
    if not signed:
        found.faults.append("the release log is not signed")
    elif signed[-1][0] < len(lines):
        found.faults.append(f"the last {len(lines) - signed[-1][0]} lines of the release log are not signed")
    elif not lines[-1].ended:
        found.faults.append("the release log has no end: what the site has let out after it is not known")
