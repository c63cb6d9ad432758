"""A blob is read back unchanged, or not at all."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from fedtrack.errors import DamagedError
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import BlobRef


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1000])
def test_content_comes_back(store: BlobStore, data: bytes) -> None:
    ref = store.put(data)
    assert store.read(ref) == data
    assert ref.size == len(data)


def test_equal_content_is_stored_once(store: BlobStore) -> None:
    assert store.put(b"same") == store.put(b"same")
    assert len(list(store.folder.iterdir())) == 1


def test_what_is_inline_is_returned_as_it_is(store: BlobStore) -> None:
    assert store.read(b"inline") == b"inline"
    assert store.read_text("inline") == "inline"
    assert store.read_text(store.put("größer".encode())) == "größer"


def test_only_the_owner_may_read(store: BlobStore) -> None:
    ref = store.put(b"private")
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path(ref).stat().st_mode) == 0o600


def test_nothing_is_created_before_the_first_write(store: BlobStore) -> None:
    with pytest.raises(DamagedError, match="missing"):
        store.path(BlobRef("0" * 64, 1))
    assert not store.folder.exists()


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", "/etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 64 + "\n", "g" * 64]
)
def test_names_that_are_no_digest_are_refused(store: BlobStore, tmp_path: Path, name: str) -> None:
    ref = BlobRef(name, 1)
    for call in (store.path, store.read, lambda ref: store.adopt(ref, BlobStore(tmp_path))):
        with pytest.raises(DamagedError, match="no SHA-256 digest"):
            call(ref)


def test_changed_content_is_noticed(store: BlobStore) -> None:
    ref = store.put(b"before")
    store.path(ref).write_bytes(b"after!")
    with pytest.raises(DamagedError, match="changed"):
        store.read(ref)


def test_cut_content_is_noticed(store: BlobStore) -> None:
    ref = store.put(b"whole")
    store.path(ref).write_bytes(b"who")
    with pytest.raises(DamagedError, match="3 bytes, expected 5"):
        store.path(ref)


def test_a_link_is_not_followed(store: BlobStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the server")
    ref = store.put(b"of the server")
    store.path(ref).unlink()
    (store.folder / ref.sha256).symlink_to(secret)
    with pytest.raises(DamagedError, match="no plain file"):
        store.path(ref)


def test_text_that_is_no_utf8_is_damage(store: BlobStore) -> None:
    with pytest.raises(DamagedError, match="no UTF-8"):
        store.read_text(store.put(b"\xff\xfe"))


def test_a_failed_write_leaves_nothing(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(b"first")

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        store.put(b"second")
    assert len(list(store.folder.iterdir())) == 1


def test_writers_of_equal_content_do_not_disturb_each_other(store: BlobStore) -> None:
    data = os.urandom(100_000)
    threads = [threading.Thread(target=store.put, args=(data,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read(store.put(data)) == data
    assert len(list(store.folder.iterdir())) == 1


def test_adopted_content_outlives_its_origin(store: BlobStore, tmp_path: Path) -> None:
    origin = BlobStore(tmp_path / "origin")
    ref = origin.put(b"travels")
    store.adopt(ref, origin)
    store.adopt(ref, origin)
    origin.path(ref).unlink()
    assert store.read(ref) == b"travels"


def test_what_its_owner_changes_later_reaches_nobody(store: BlobStore, tmp_path: Path) -> None:
    origin = BlobStore(tmp_path / "origin")
    ref = origin.put(b"travels")
    store.adopt(ref, origin)
    origin.path(ref).write_bytes(b"POISON!")
    assert store.path(ref).read_bytes() == b"travels"


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("kind", ["other", "longer", "shorter", "sparse", "none", "link", "pipe", "folder"])
def test_content_that_is_not_that_of_its_digest_is_not_adopted(
    store: BlobStore, tmp_path: Path, kind: str, held: bool
) -> None:
    origin, data = BlobStore(tmp_path / "origin"), b"shared text\n" * 5_000
    ref = (store if held else BlobStore(tmp_path / "elsewhere")).put(data)
    origin.folder.mkdir()
    path = origin.folder / ref.sha256
    if kind == "link":
        (tmp_path / "of another").write_bytes(data)
        path.symlink_to(tmp_path / "of another")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "sparse":
        path.write_bytes(b"")
        os.truncate(path, 2**40)
    elif kind != "none":
        path.write_bytes({"other": b"P" * len(data), "longer": data + b"x", "shorter": data[:-1]}[kind])
    with pytest.raises(DamagedError):
        store.adopt(ref, origin)
    if held:
        assert store.read(ref) == data
    else:
        assert not any(store.folder.iterdir()) if store.folder.exists() else True


def test_missing_content_is_not_adopted(store: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="missing"):
        store.adopt(BlobRef("0" * 64, 1), BlobStore(tmp_path / "origin"))


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of what is synced, in the order of the syncs."""
    names: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        names.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return names


def test_what_is_adopted_survives_a_loss_of_power_with_its_name(tmp_path: Path, synced: list[str]) -> None:
    origin, server = BlobStore(tmp_path / "origin"), BlobStore(tmp_path / "server")
    ref = origin.put(b"x" * 40_000)
    assert synced == []
    server.adopt(ref, origin)
    server.adopt(ref, origin)  # once is enough
    assert synced == [tmp_path.name, ref.sha256, "server"]
    # An earlier process may have been killed between the name and the sync.
    BlobStore(tmp_path / "server").adopt(ref, origin)
    assert synced.count(ref.sha256) == 2


def test_a_durable_store_syncs_content_and_name(tmp_path: Path, synced: list[str]) -> None:
    store = BlobStore(tmp_path / "blobs", durable=True)
    ref = store.put(b"x" * 40_000)
    assert synced == [tmp_path.name, ref.sha256, "blobs"]
