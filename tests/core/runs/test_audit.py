"""A bundle is audited without its run: every flipped, dropped, added or moved record is found, with its interval."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError
from fedtrack.journal.journal import Journal
from fedtrack.policy.policy import Policy
from fedtrack.policy.terms import Terms
from fedtrack.runs.audit import audit
from fedtrack.runs.bundle import LOG, MANIFEST, SIGNATURE, Manifest, bundle
from fedtrack.runs.stored_run import find_run
from fedtrack.runs.workspace import RunRecord, Workspace
from fedtrack.seals.site_key import SiteKey
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import Metric
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.guard import Guard
from fedtrack.transport.spool_source import SpoolSource
from support.command_line import fedtrack
from support.forwarding import forward

Change = Callable[[dict[str, bytes], str, list[tuple[int, bytes]]], None]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a run of one site, with two intervals of ten records and a signed end."""
    root = tmp_path_factory.mktemp("run")
    patch = pytest.MonkeyPatch()
    patch.setenv("FEDTRACK_KEYS", str(root / "keys"))
    workspace = Workspace(root / "ws")
    workspace.create(RunRecord("run-1", "", 1), ["site-1"])
    journal = Journal(workspace.server / "journal.db")
    journal.set_meta("run_id", "run-1")
    folder = workspace.site("site-1")
    spool = Spool(folder / "spool")
    guard = Guard.open("site-1", "run-1", folder, Terms((Policy(default="allow"),)))
    source = SpoolSource("site-1", spool.folder, journal, BlobStore(root / "blobs"), guard=guard)
    for part in range(2):
        spool.mark_round(part)
        spool.extend([Metric(1, "loss", float(number)) for number in range(10)])
        forward(source)
    spool.close()
    source.ended = True
    forwarder = Forwarder()
    forwarder.add(source)
    forwarder.stop()
    journal.close()
    workspace.close()
    bundle(find_run(root / "ws"), root / "bundle.zip")
    patch.undo()
    return root / "bundle.zip"


def rewritten(original: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a bundle anew, as somebody who has it and not the site's key could."""
    with zipfile.ZipFile(original) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    files.pop(SIGNATURE, None)
    manifest = msgspec.json.decode(files.pop(MANIFEST), type=Manifest)
    manifest.files = {name: sha256(data).hexdigest() for name, data in files.items()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in {**files, MANIFEST: msgspec.json.encode(manifest)}.items():
            archive.writestr(name, data)
    return target


def with_records(files: dict[str, bytes], change: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]]) -> None:
    (name,) = (name for name in files if name.endswith(".frames") and "/site-1/" in name)
    salt = frames.salt_of(Path(name).stem)
    records = change([(seq, bytes(payload)) for seq, payload in frames.split(files[name])])
    files[name] = b"".join(frames.frame(seq, payload, salt) for seq, payload in records)


def test_a_bundle_that_nobody_changed_passes_with_the_right_keys_only(original: Path, tmp_path: Path) -> None:
    found = audit(original)
    (site,) = found.sites
    assert found.passed
    assert (site.site, site.records, site.sealed, site.refused, len(site.keys)) == ("site-1", 20, 20, 0, 1)
    assert found.server_key
    assert audit(original, {"site-1": site.keys[0], "server": found.server_key}).passed
    other = SiteKey.of(tmp_path / "k.pem").public
    assert not audit(original, {"site-1": other}).passed
    assert not audit(original, {"server": other}).passed
    assert "passed" in fedtrack("runs", "audit", str(original))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_of_a_record_fails_and_names_its_interval(original: Path, data: st.DataObject) -> None:
    with zipfile.ZipFile(original) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".frames") and "/site-1/" in name)
        count = len(list(frames.split(archive.read(name))))
    at = data.draw(st.integers(0, count - 1))
    kind = data.draw(st.sampled_from(["flip", "drop", "swap", "add", "renumber"]))
    bit = data.draw(st.integers(0, 8 * 20))

    def change(records: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        seq, payload = records[at]
        if kind == "flip":
            changed = bytearray(payload)
            changed[(bit // 8) % len(changed)] ^= 1 << bit % 8
            records[at] = (seq, bytes(changed))
        elif kind == "drop":
            del records[at]
        elif kind == "swap":
            other = (at + 1) % len(records)
            records[at], records[other] = (seq, records[other][1] + b"\xc0"), (records[other][0], payload)
        elif kind == "add":
            records.append((records[-1][0] + 1, payload))
        else:
            records = [(number + 1, one) for number, one in records]
        return records

    target = original.with_name("changed.zip")
    found = audit(rewritten(original, target, lambda files: with_records(files, change)))
    assert not found.passed
    (site,) = found.sites
    assert any("records" in fault for fault in site.faults)
    if kind in ("flip", "drop"):
        lines = [fault for fault in site.faults if "not as the site" in fault]
        assert len(lines) == 1  # the interval of that record, and no other one
        first, last = (int(word) for word in lines[0].split("records ")[1].split(" of")[0].split(" to "))
        assert first <= at + 1 <= last


@pytest.mark.parametrize("part", ["log", "last line", "signature", "stream", "models"])
def test_a_part_that_is_gone_is_noticed(original: Path, tmp_path: Path, part: str) -> None:
    def change(files: dict[str, bytes]) -> None:
        log = f"sites/site-1/{LOG}"
        lines = files[log].splitlines(keepends=True)
        if part == "log":
            del files[log]
        elif part == "last line":
            files[log] = b"".join(lines[:-1])
        elif part == "signature":
            files[log] = files[log].replace(b'"signature":"', b'"signature":"00')
        elif part == "stream":
            for name in [name for name in files if name.endswith(".frames")]:
                del files[name]
        else:
            del files["models.json"]

    found = audit(rewritten(original, tmp_path / "b.zip", change), {"site-1": audit(original).sites[0].keys[0]})
    assert not found.passed


@pytest.mark.parametrize("data", [b"", b"PK", b"\x00" * 1000])
def test_what_is_no_bundle_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(ConfigError, match="no bundle"):
        audit(tmp_path / "x.zip")


def test_a_bundle_replaces_nothing(original: Path) -> None:
    with pytest.raises(ConfigError, match="exists"):
        bundle(find_run(original.parent / "ws"), original)
