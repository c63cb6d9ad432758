"""Agent: the process beside a training that ships what it logs, and outlives it to ship the rest.

    python -m fedtrack.connection.agent FOLDER [--once]

There is one for each run of an outbox. A lock says so, and the kernel releases it with the process. The training starts
an agent where it finds none, so a killed agent is replaced within about a second.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path
from time import monotonic, sleep

from fedtrack.connection.agent_lock import turn
from fedtrack.connection.outbox import RunBox, SiteBox
from fedtrack.connection.shipment import Shipment
from fedtrack.errors import FedtrackError, TransportError
from fedtrack.transport.address import Address
from fedtrack.transport.https import HttpsLine

log = logging.getLogger(__name__)

#: Seconds without work until an agent ends.
_IDLE_SECONDS = 2.0
_LOG_BYTES = 1024 * 1024


class Agent:
    """Ships every site of a run.

    Args:
        box: The run's folder.
    """

    def __init__(self, box: RunBox) -> None:
        self._box = box
        target = box.target
        self._run = target.run
        self._address = Address.of(target.address)
        self._lines: dict[str, HttpsLine] = {}
        self._shipments: dict[Path, Shipment] = {}
        self._tokens: dict[Path, str] = {}

    def step(self, now: float) -> float:
        """Ship what can be shipped, and return the seconds until the next call."""
        wait = _IDLE_SECONDS
        for box in self._box.sites():
            shipment = self._shipment(box)
            if shipment is not None:
                wait = min(wait, self._step(shipment, now))
        return wait

    @property
    def done(self) -> bool:
        """Whether everything has arrived, or nothing more can be sent without a token."""
        return all(self._shipments[box.folder].done for box in self._box.sites() if box.folder in self._shipments)

    def close(self) -> None:
        """Delete the tokens of the sites that need none any more, and close the connections."""
        for shipment in self._shipments.values():
            if shipment.done:
                shipment.box.forget_token()
        for line in self._lines.values():
            line.close()

    def _shipment(self, box: SiteBox) -> Shipment | None:
        token = box.token
        if not token:
            return self._shipments.get(box.folder)
        if token != self._tokens.get(box.folder):
            if token not in self._lines:
                self._lines[token] = HttpsLine(self._address, token)
            self._shipments[box.folder] = Shipment(box, self._run, self._lines[token])
            self._tokens[box.folder] = token
        return self._shipments[box.folder]

    def _step(self, shipment: Shipment, now: float) -> float:
        try:
            return shipment.step(now)
        except (TransportError, OSError) as error:  # of one site; the others go on
            log.warning("%s: %s", shipment.box.site, error)
            return _IDLE_SECONDS


def run(box: RunBox, *, once: bool = False) -> bool:
    """Ship a run until everything has arrived and nobody logs any more; return False if another agent ships it.

    Args:
        box: The run's folder.
        once: Whether to end as soon as everything has arrived, and not to wait for a process that may begin to log.
    """
    with turn(box.lock) as mine:
        if not mine:
            log.info("another agent ships %s", box.folder)
            return False
        agent = Agent(box)
        idle_since = monotonic()
        try:
            while True:
                now = monotonic()
                wait = agent.step(now)
                if not agent.done:
                    idle_since = monotonic()
                elif once or monotonic() - idle_since >= _IDLE_SECONDS:
                    return True
                sleep(min(max(wait, 0.0), _IDLE_SECONDS))
        finally:
            agent.close()


def main() -> None:
    """Run the agent of the folder in the arguments."""
    parser = argparse.ArgumentParser(prog="fedtrack.connection.agent", description="Ships the spools of a run.")
    parser.add_argument("folder", type=Path, help="the run's folder in the outbox")
    box = RunBox(parser.parse_args().folder)
    handler = RotatingFileHandler(box.log, maxBytes=_LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal of the training
    try:
        run(box)
    except FedtrackError as error:
        log.error("%s", error)
        sys.exit(error.exit_code)
    except Exception:
        log.exception("the agent ends")
        raise


if __name__ == "__main__":
    main()
