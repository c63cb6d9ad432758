"""FileShipper: sends the files that a spool's records refer to, before the records themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from fedtrack.files import open_plain
from fedtrack.spool import frames
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.records import KINDS_WITH_BLOBS, Artifact, BlobRef, Image, Text, decode
from fedtrack.transport.wire import MAX_BATCH, Ack, FilePart

log = logging.getLogger(__name__)


class FileShipper:
    """Sends each file once.

    Args:
        folder: The spool's folder.
        run_id: The run.
        ask: Sends one piece and returns the answer, or raises an error.
        piece_bytes: Returns the most bytes of a piece.
    """

    def __init__(
        self,
        folder: Path,
        run_id: str,
        ask: Callable[[FilePart], Ack],
        piece_bytes: Callable[[], int] = lambda: MAX_BATCH,
    ) -> None:
        self._piece_bytes = piece_bytes
        self._folder = folder
        self._run_id = run_id
        self._ask = ask
        self._sent: set[str] = set()

    def send(self, run: frames.FrameRange) -> None:
        """Send the files that the records of a run refer to.

        Raises:
            TransportError: A piece did not arrive; the next call continues after the last piece that the server has.
        """
        store = BlobStore(self._folder / "blobs")
        for ref in _references(run):
            if ref.sha256 in self._sent:
                continue
            try:
                path = store.path(ref)
            except Exception as error:  # the record is nevertheless shipped: it names the missing file
                log.error("%s: %s", self._folder, error)
                continue
            self._send_file(path, ref)
            self._sent.add(ref.sha256)

    def _send_file(self, path: Path, ref: BlobRef) -> None:
        offset = 0
        with open_plain(path) as file:
            while offset < ref.size or ref.size == 0:
                file.seek(offset)
                ack = self._ask(FilePart(self._run_id, ref.sha256, ref.size, offset, file.read(self._piece_bytes())))
                if ack.verdict == "rejected":
                    log.error("%s: the server refuses the file %s: %s", self._folder, ref.sha256, ack.reason)
                    return
                offset = ack.stored_upto
                if offset >= ref.size:
                    return


def _references(run: frames.FrameRange) -> Iterator[BlobRef]:
    for _, payload in frames.split(run.body):
        if len(payload) < 2 or payload[1] not in KINDS_WITH_BLOBS:
            continue
        record = decode(payload)
        data: object = None
        if isinstance(record, Text):
            data = record.text
        elif isinstance(record, Image | Artifact):
            data = record.data
        if isinstance(data, BlobRef):
            yield data
