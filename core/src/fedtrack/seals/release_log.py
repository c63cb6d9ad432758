"""ReleaseLog: the file in which a site's agent notes what it lets out: key, round and count, never a value.

A line is JSON. It names the SHA-256 of the line before it, so no line can be changed, removed or moved without all that
follow. Signatures are lines, too. The chain's head of each stream stands in the lines, so a signature is also one
for the records themselves.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from time import monotonic, time_ns
from typing import Any

import msgspec

from fedtrack.errors import DamagedError
from fedtrack.files import unwritable
from fedtrack.seals.site_key import SiteKey

log = logging.getLogger(__name__)

FILE = "release_log.jsonl"
#: Beside it: the server's signature of the log, ``<public key>:<signature>``.
RECEIPT = "release_log.receipt"

#: A signature follows at the latest after this many records, or these seconds, and at the end.
RECORDS, SECONDS = 1_000, 10.0


class Released(msgspec.Struct, array_like=True, frozen=True):
    """Records of one kind and key.

    Attributes:
        kind: Such as ``metric``.
        key: The key, or the path of an artifact.
        count: How many.
        first: Number of the first one in its stream.
    """

    kind: str
    key: str
    count: int
    first: int


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line. The first one of a file has a site, a signature has a key, and every other one has a stream.

    Attributes:
        prev: SHA-256 of the line before, or "".
        ns: The agent's clock, nanoseconds since the epoch.
        site: The site.
        run: The run.
        policy: The terms of the site: the SHA-256 of its policy.
        stream: The stream's id.
        first: Number of the first record.
        last: Number of the last record.
        round: The round, or None.
        head: Head of the stream's chain after the last record, in hex.
        released: What was let out.
        refused: Records that the agent has refused, because the site's policy does not allow them.
        withheld: Log calls of the stream that the logging process has kept so far.
        key: The public key, in hex.
        signature: The signature of the SHA-256 of the line before, in hex.
        ended: Whether the agent let out nothing more: its site's processes had ended.
    """

    prev: str = ""
    ns: int = 0
    site: str = ""
    run: str = ""
    policy: str = ""
    stream: str = ""
    first: int = 0
    last: int = 0
    round: int | None = None
    head: str = ""
    released: list[Released] = []
    refused: int = 0
    withheld: int = 0
    key: str = ""
    signature: str = ""
    ended: bool = False


class ReleaseLog:
    """A site's log, which one agent writes.

    Args:
        path: The file; created 0600.
        site: The site.
        run: The run.
        policy: The terms in one line; see ``Terms.shown``.
        key: The site's key; None signs nothing.
        clock: Seconds that never run back.

    Attributes:
        lines: The lines that were there before.

    Raises:
        DamagedError: The file is not such a log, or was changed.
        WorkspaceError: The file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        site: str,
        run: str,
        policy: str,
        key: SiteKey | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.path = path
        self._key = key
        self._clock = clock
        self._unsigned = 0
        self._signed_at = clock()
        self._ended = False
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            data = _whole_lines(self._file)
        except OSError as error:
            raise unwritable(str(path), error) from None
        self.lines, self._head = read_lines(data, str(path))
        self._ended = bool(self.lines) and self.lines[-1].ended
        if not self.lines or self._last_policy() != policy:
            self.write(Line(site=site, run=run, policy=policy))

    def write(self, line: Line, records: int = 0) -> None:
        """Append a line, and a signature if it is time for one.

        Args:
            line: The line; its ``prev`` and ``ns`` are set here.
            records: How many records it speaks of.

        Raises:
            WorkspaceError: It cannot be written; then nothing may be let out.
        """
        data = msgspec.json.encode(msgspec.structs.replace(line, prev=self._head, ns=time_ns())) + b"\n"
        try:
            written = os.write(self._file, data)
            if written != len(data):
                os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_END) - written)
                raise OSError(28, os.strerror(28))
        except OSError as error:
            raise unwritable(str(self.path), error) from None
        self._head = sha256(data[:-1]).hexdigest()
        self._ended = line.ended
        self._unsigned += 0 if line.signature or line.ended else max(1, records)
        self.sign_if_due()

    def sign_if_due(self) -> None:
        """Sign if enough records or seconds have passed since the last signature."""
        if self._unsigned >= RECORDS or (self._unsigned and self._clock() - self._signed_at >= SECONDS):
            self.sign()

    def sign(self) -> None:
        """Sign everything until here, and make it survive the loss of power."""
        if self._unsigned and self._key is not None:
            self._unsigned = 0
            self.write(self._signature())
            os.fsync(self._file)
        self._unsigned, self._signed_at = 0, self._clock()

    def end(self) -> None:
        """Note, and sign, that nothing more is let out; what comes later nevertheless is noted behind it."""
        if not self._ended:
            self._unsigned = 0
            self.write(msgspec.structs.replace(self._signature(), ended=True))
            os.fsync(self._file)

    def _signature(self) -> Line:
        if self._key is None:
            return Line()
        return Line(key=self._key.public, signature=self._key.sign(bytes.fromhex(self._head)))

    def close(self) -> None:
        """Sign the rest and close the file."""
        if self._file >= 0:
            self.sign()
            os.close(self._file)
            self._file = -1

    def _last_policy(self) -> str:
        return next((line.policy for line in reversed(self.lines) if line.site), "")


def read_lines(data: bytes, name: str) -> tuple[list[Line], str]:
    """Return the lines of a log, and the SHA-256 of the last one; "" without any.

    Raises:
        DamagedError: A line is none, or does not follow the one before it; the message names it.
    """
    found: list[Line] = []
    head = ""
    for number, text in enumerate(data.splitlines(), start=1):
        try:
            line = msgspec.json.decode(text, type=Line)
        except msgspec.MsgspecError as error:
            raise DamagedError(f"Line {number} of {name} is no line of a release log: {error}.") from None
        if line.prev != head:
            raise DamagedError(f"Line {number} of {name} does not follow line {number - 1}: the log was changed.")
        head = sha256(text).hexdigest()
        found.append(line)
    return found, head


def _whole_lines(file: int) -> bytes:
    """Return the content of a log; a last line that a killed process has left unfinished is removed."""
    data = b""
    while part := os.pread(file, 1 << 20, len(data)):
        data += part
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.ftruncate(file, whole)
    return data[:whole]


def shown(line: Line) -> dict[str, Any]:
    """Return a line as a row for people, without its hashes."""
    return {name: value for name, value in msgspec.to_builtins(line).items() if name not in ("prev", "head", "ns")}
