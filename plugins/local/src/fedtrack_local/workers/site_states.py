"""SiteStates: the states that a worker's sites keep from one task to the next, one small file per site."""

from __future__ import annotations

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fedtrack.errors import ModelError
from fedtrack.files import write_whole
from fedtrack.tracking import shorten
from fedtrack_local.models.arrays import DTYPES_BY_NAME, as_arrays
from fedtrack_local.room import when_there_is_room

_ARRAY, _TENSOR = 1, 2


class _Stored(msgspec.Struct):
    """A state before and after the last task that changed it.

    A task that is repeated, by another worker or by a resumed run, must begin with the same state as the first time.
    """

    task: str
    before: bytes
    after: bytes


class _Tensor(msgspec.Struct, array_like=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


class SiteStates:
    """The states of all sites of a run.

    Args:
        folder: Created (0700) when the first state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._folder_name = folder, str(folder)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_to_extension)
        self._decoder = msgspec.msgpack.Decoder(dict[str, Any], ext_hook=_from_extension)
        self._found: dict[str, bytes] = {}

    def load(self, site: str, task: str) -> dict[str, Any]:
        """Return the state with which ``site`` begins ``task``.

        Args:
            site: The site.
            task: Identifies the task; a second attempt has the same text.
        """
        # Called for each task, and in most jobs no site has a state: access() needs no exception to say so.
        if not os.access(self._folder_name, os.F_OK):
            self._found[site] = b""
            return {}
        try:
            stored = msgspec.msgpack.decode(self._path(site).read_bytes(), type=_Stored)
        except FileNotFoundError:
            self._found[site] = b""
            return {}
        self._found[site] = stored.before if stored.task == task else stored.after
        return self._decoder.decode(self._found[site]) if self._found[site] else {}

    def save(self, site: str, task: str, state: dict[str, Any]) -> None:
        """Save the state of ``site`` after ``task``; nothing is written if it has not changed.

        Raises:
            ModelError: The state has a value that cannot be saved.
            WorkspaceError: The state cannot be written, for example to a full disk; the last saved state stays.
        """
        before = self._found.pop(site, b"")
        try:
            after = self._encoder.encode(state) if state else b""
        except (TypeError, OverflowError, msgspec.MsgspecError, ModelError) as error:
            raise ModelError(
                f"site.state {shorten(state)} cannot be kept: {error}; use numbers, texts, bytes, lists, dicts, arrays "
                "and tensors."
            ) from None
        if after == before:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = msgspec.msgpack.encode(_Stored(task, before, after))
        when_there_is_room(lambda: write_whole(self._path(site), data))

    def _path(self, site: str) -> Path:
        # Hashed, so that no name is used as a path, and names that differ only in case differ on every file system.
        return self._folder / f"{sha256(site.encode()).hexdigest()[:32]}.msgpack"


def _to_extension(value: Any) -> msgspec.msgpack.Ext:
    torch = sys.modules.get("torch")
    is_tensor = torch is not None and isinstance(value, torch.Tensor)
    if not is_tensor and not isinstance(value, np.ndarray | np.generic):
        raise TypeError(f"a {type(value).__name__} is no such value")
    array = as_arrays({"state": value})["state"]
    stored = _Tensor(array.dtype.name, array.shape, array.tobytes())
    return msgspec.msgpack.Ext(_TENSOR if is_tensor else _ARRAY, msgspec.msgpack.encode(stored))


def _from_extension(code: int, data: memoryview) -> Any:
    stored = msgspec.msgpack.decode(data, type=_Tensor)
    dtype = DTYPES_BY_NAME[stored.dtype]
    memory = bytearray(stored.data)  # the site may change it in place
    torch = sys.modules.get("torch")
    if code == _ARRAY or torch is None:
        return np.frombuffer(memory, dtype).reshape(stored.shape)
    if not memory:
        return torch.empty(stored.shape, dtype=getattr(torch, stored.dtype))
    return torch.frombuffer(memory, dtype=getattr(torch, stored.dtype)).reshape(stored.shape)
