"""ReceivedLogs: the release logs of the sites of other machines, as they have sent them."""

from __future__ import annotations

import logging
import os
import re
from hashlib import sha256
from pathlib import Path

from fedtrack.errors import FedtrackError
from fedtrack.seals.site_key import SiteKey
from fedtrack.tracking.events import SERVER
from fedtrack.transport.wire import MAX_BATCH, Ack, LogPart

log = logging.getLogger(__name__)

#: A log of a million lines; a site that sends more harms only its own.
MOST_BYTES = 256 * 1024 * 1024
_NAME = re.compile(r"(?!\.)[\w.@-]{1,128}\Z")


class ReceivedLogs:
    """The logs of a run, ``<site>.jsonl`` each.

    Args:
        folder: Created (0700) with the first log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key: SiteKey | None = None
        self._looked = False

    def take(self, site: str, part: LogPart) -> Ack:
        """Store a piece behind what is there, and sign all of it if the server has a key.

        Raises:
            ValueError: The piece is not valid.
            OSError: It cannot be stored.
        """
        if not _NAME.match(site) or len(part.data) > MAX_BATCH or part.offset + len(part.data) > MOST_BYTES:
            raise ValueError("no valid piece of a release log")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{site}.jsonl"
        there = path.stat().st_size if path.exists() else 0
        if part.offset != there:
            return Ack("gap", there)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "ab") as file:
            file.write(part.data)
            file.flush()
            os.fsync(file.fileno())
        return Ack("stored", there + len(part.data), receipt=self._receipt(path))

    def _receipt(self, path: Path) -> str:
        if not self._looked:
            self._looked = True
            try:
                self._key = SiteKey.find(SERVER)
            except FedtrackError as error:
                log.error("no receipt is signed: %s", error)
        if self._key is None:
            return ""
        return f"{self._key.public}:{self._key.sign(sha256(path.read_bytes()).digest())}"
