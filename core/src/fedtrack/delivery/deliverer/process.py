"""The process of a deliverer: it builds receivers, opens the journal for reading, and feeds the receivers.

Receivers and their SDKs may do anything here: print, change the folder, handle signals, or end the process. Nothing of
that reaches the server.
"""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from time import sleep

from fedtrack.delivery.calls import Call, CallPage, CallRecorder
from fedtrack.delivery.deliverer.feeding import Feeding, built
from fedtrack.delivery.deliverer.messages import (
    Abandon,
    Channel,
    Drain,
    Hurry,
    Logged,
    Message,
    Pause,
    Prepare,
    ReceiverSpec,
    Serve,
    Wake,
)
from fedtrack.delivery.deliverer.surroundings import (
    SignOfLife,
    ignore_signals,
    keep_descriptors,
    log_traceback,
    send_output_to_errors,
    write_to_log,
)
from fedtrack.delivery.retry import describe
from fedtrack.errors import FedtrackError
from fedtrack.output import tolerant
from fedtrack.unreadable import become_unreadable

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
#: Somebody waits for the end of the run.
_DRAINING_POLL_SECONDS = 0.01
_AGAIN_SECONDS = 0.5

#: The place on the call page of the thread that prepares receivers; the batch is the receiver's number there.
PREPARING = 0


class DelivererProcess:
    """The process, from its first message to its end.

    Args:
        channel: The connection to the supervisor. When it ends, so does the process.
        page: The call page.
    """

    def __init__(self, channel: Channel, page: CallPage) -> None:
        self._channel = channel
        self._page = page
        self._life = SignOfLife(page)
        self._feeding: Feeding | None = None
        self._served: Serve | None = None
        self._ordered = threading.Event()
        self._status = self._trouble = ""

    def run(self) -> None:
        """Work until every receiver is closed, or the supervisor has ended."""
        threading.Thread(target=self._listen, name="channel", daemon=True).start()
        while self._feeding is None or not self._feeding.over:
            self._life.leave()
            self._ordered.wait(_DRAINING_POLL_SECONDS if self._status else _POLL_SECONDS)
            self._ordered.clear()
            if self._status:
                sleep(_DRAINING_POLL_SECONDS)
            if self._feeding is None and self._served is not None:
                self._try_to_begin(self._served)
            if self._feeding is not None:
                self._feeding.tell()
        self._feeding.close()
        # Not an ordinary exit: it would wait for the threads of receivers that hang.
        os._exit(0)

    def _try_to_begin(self, order: Serve) -> None:
        run = order.run.run()
        write_to_log(run.folder)
        self._life.leave(arm=True)
        try:
            self._feeding = Feeding(run, Path(order.journal), order.receivers, self._page, self._channel)
        except (FedtrackError, sqlite3.Error) as error:  # the disk is full, and may have room again
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("The delivery waits: %s", error)
            sleep(_AGAIN_SECONDS)
            return
        if self._status or order.status:
            self._feeding.drain(self._status or order.status)

    def _listen(self) -> None:
        try:
            while True:
                for message in self._channel.receive():
                    self._follow(message)
        except BaseException:
            # The server has ended, or a receiver has closed what it did not open. What is not delivered is kept.
            os._exit(_HUNG_UP)

    def _follow(self, message: Message) -> None:
        feeding = self._feeding
        if isinstance(message, Wake):
            if feeding is not None:
                feeding.wake()
        elif isinstance(message, Prepare | Serve):
            sys.path[:] = message.path
            _send_log(self._channel, message.level)
            if isinstance(message, Serve):
                # The lock of the ledger: nobody else writes it as long as this process lives.
                keep_descriptors(self._channel.descriptors)
                self._served = message
                self._ordered.set()
            else:
                threading.Thread(target=self._prepare, args=(message.receivers,), name="prepare", daemon=True).start()
        elif isinstance(message, Drain):
            self._status = message.status
            self._ordered.set()
            if self._feeding is not None:  # read again: whoever sets it looks at the status afterwards
                self._feeding.drain(message.status)
        elif isinstance(message, Abandon | Pause | Hurry) and feeding is not None:
            if isinstance(message, Hurry):
                feeding.hurry()
            elif isinstance(message, Pause):
                feeding.pause(message.id)
            else:
                feeding.abandon(message.id)

    def _prepare(self, receivers: Sequence[ReceiverSpec]) -> None:
        """Let receivers import their SDKs while the sites are starting."""
        calls = CallRecorder(lambda state: self._page.write(PREPARING, state))
        for spec in receivers:
            try:
                receiver = built(spec)
                with calls.during(Call.PREPARE, batch=spec.place):
                    receiver.prepare()
            except BaseException as error:  # its open will meet the same problem
                log.info("%s could not prepare: %s", spec.id, describe(error))


#: The exit status of a deliverer whose supervisor has ended.
_HUNG_UP = 3


class _ToSupervisor(logging.Handler):
    """Sends each log message to the supervisor, whose process shows it."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            text = str(record.msg)
        traceback = getattr(record, "traceback", "")
        kept = bool(traceback) and log_traceback(text, traceback) and not getattr(record, "meant", False)
        self._channel.send(Logged(record.levelno, record.name, text, traceback, kept=kept))


def _send_log(channel: Channel, level: int) -> None:
    root = logging.getLogger()
    root.setLevel(level)
    if not any(isinstance(handler, _ToSupervisor) for handler in root.handlers):
        root.addHandler(_ToSupervisor(channel))


def main(descriptors: Sequence[int]) -> None:
    """Serve the supervisor at the other end of the first descriptor, with the page in the second."""
    become_unreadable()
    ignore_signals()
    send_output_to_errors()
    sys.stdout, sys.stderr = tolerant(sys.stdout), tolerant(sys.stderr)  # what receivers print shows no secret
    channel, page = keep_descriptors(descriptors)
    DelivererProcess(Channel(socket.socket(fileno=channel)), CallPage(page)).run()
