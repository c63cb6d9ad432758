"""Throughput: events per second from sites into the journal, and from the journal into each backend."""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time, sleep, time_ns
from typing import Any

from benchmarks.table import Table, spread
from fedtrack.delivery.delivery import Delivery
from fedtrack.delivery.ledger import LEDGER_FILE, Ledger
from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.spool.spool import Spool
from fedtrack.testing import run_info
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import Receiver
from fedtrack.tracking.records import Metric, encode
from fedtrack.transport.forwarder import Forwarder
from fedtrack.transport.spool_source import SpoolSource

title = "Events per second"

SITES = (1, 2, 8)
EVENTS = 200_000
STREAM = "ab" * 16

#: Logs a number of events in a tight loop, beginning with a step; it returns when the backend has all of them.
Peer = Callable[[int, int], None]


def _log(folder: Path, count: int) -> None:
    spool = Spool(folder)
    for step in range(count):
        spool.append(Metric(time_ns(), "train_loss", 0.5, step))
    spool.close()


def into_journal(sites: int, events: int = EVENTS) -> tuple[float, float, int]:
    """Return events per second from ``sites`` processes, the server's CPU time per event in µs, and the lost events."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        journal = Journal(root / "journal.db")
        forwarder = Forwarder()
        folders = {f"site-{n}": root / f"site-{n}" for n in range(1, sites + 1)}
        for name, folder in folders.items():
            forwarder.add(SpoolSource(name, folder, journal, BlobStore(root / "blobs")))
        each = events // sites
        context = multiprocessing.get_context("fork")
        writers = [context.Process(target=_log, args=(folder, each)) for folder in folders.values()]
        started, cpu = perf_counter(), process_time()
        for writer in writers:
            writer.start()
        forwarder.start()
        for writer in writers:
            writer.join()
        forwarder.stop()
        seconds, cpu = perf_counter() - started, process_time() - cpu
        stored = sum(journal.counts().values())
        journal.close()
    return stored / seconds, cpu / stored * 1e6, each * sites - stored


def _journal_table(repeats: int) -> Table:
    found: dict[int, list[tuple[float, float, int]]] = {sites: [] for sites in SITES}
    for _ in range(repeats):
        for sites in SITES:
            found[sites].append(into_journal(sites))
    rows = [
        (
            f"{sites} {'site' if sites == 1 else 'sites'}",
            spread([rate for rate, _, _ in runs], "{:,.0f}".format),
            spread([cpu for _, cpu, _ in runs]),
            sum(lost for _, _, lost in runs),
        )
        for sites, runs in found.items()
    ]
    note = (
        f"{EVENTS:,} events in all, each a log call of its own, by processes that do nothing else, while the server "
        "reads them; everything is committed to the disk at the end."
    )
    columns = ("from sites into the journal", "events per second", "server's CPU, µs per event", "lost")
    return Table("Into the journal", columns, rows, note)


class Delivered:
    """A journal and the delivery from it to one receiver."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        self.journal = Journal(folder / "journal.db")
        self._last = 0
        self.ledger = Ledger(folder / LEDGER_FILE, self.journal)
        run = run_info(folder, sites=["site-1"])
        self._delivery = Delivery("receiver", receiver, self.journal, self.ledger, run)
        self._delivery.start()

    def deliver(self, first: int, count: int) -> float:
        """Return the seconds from the commit of ``count`` events until the receiver has flushed them."""
        salt = frames.salt_of(STREAM)
        seqs = range(self._last + 1, self._last + count + 1)
        records = (Metric(time_ns(), "train_loss", 0.5, first + seq) for seq in range(count))
        body = b"".join(frames.frame(seq, encode(record), salt) for seq, record in zip(seqs, records, strict=True))
        self._last += count
        self.journal.apply("site-1", STREAM, [frames.FrameRange(seqs[0], seqs[-1], count, body)])
        started = perf_counter()
        while self.ledger.cursor("receiver").delivered < self._last:
            sleep(0.005)
        return perf_counter() - started

    def close(self) -> None:
        """End the run."""
        self._delivery.drain("completed")
        self._delivery.finish(60.0)
        self.ledger.close()
        self.journal.close()


@contextlib.contextmanager
def _mlflow(folder: Path) -> Iterator[tuple[Receiver, Peer]]:
    from mlflow.entities import Metric as Point
    from mlflow.tracking import MlflowClient

    from fedtrack_mlflow import MLflowReceiver

    client = MlflowClient(f"sqlite:///{folder}/peer.db")
    run = client.create_run(client.create_experiment("peer", str(folder))).info.run_id

    def peer(first: int, count: int) -> None:
        for start in range(first, first + count, 1000):
            now = time_ns() // 10**6
            client.log_batch(run, [Point("train_loss", 0.5, now, step) for step in range(start, start + 1000)])

    yield MLflowReceiver(), peer


@contextlib.contextmanager
def _tensorboard(folder: Path) -> Iterator[tuple[Receiver, Peer]]:
    from torch.utils.tensorboard import SummaryWriter

    from fedtrack_tensorboard import TBAnalyticsReceiver

    writer = SummaryWriter(f"{folder}/peer")

    def peer(first: int, count: int) -> None:
        for step in range(first, first + count):
            writer.add_scalar("train_loss", 0.5, step)
        writer.flush()

    yield TBAnalyticsReceiver(), peer
    writer.close()


@contextlib.contextmanager
def _wandb(folder: Path) -> Iterator[tuple[Receiver, Peer]]:
    import wandb

    from fedtrack_wandb import WandBReceiver
    from fedtrack_wandb.arguments import FLUSH_INTERVAL
    from fedtrack_wandb.transaction_log import TransactionLog

    settings: Any = {"silent": True, "console": "off", "x_disable_stats": True}
    settings["x_transaction_log_flush_interval"] = FLUSH_INTERVAL
    run = wandb.init(mode="offline", dir=folder, reinit="create_new", settings=wandb.Settings(**settings))
    log = TransactionLog(Path(run.dir).parent / f"run-{run.id}.wandb")
    logged = 0

    def peer(first: int, count: int) -> None:
        nonlocal logged
        logged += count
        for step in range(first, first + count):
            run.log({"train_loss": 0.5}, step=step)
        while log.update() < logged - 1:  # W&B keeps the last row until the next one begins
            sleep(0.005)

    yield WandBReceiver(), peer
    run.finish()


#: The name of each comparison, the function that opens both sides, and the number of events in a block.
BACKENDS: tuple[tuple[str, Callable[[Path], contextlib.AbstractContextManager[tuple[Receiver, Peer]]], int], ...] = (
    ("MLflow, SQLite; beside log_batch(1000)", _mlflow, 10_000),
    ("TensorBoard; beside torch's SummaryWriter", _tensorboard, 20_000),
    ("W&B offline; beside run.log", _wandb, 5_000),
)


def into_backend(
    opened: Callable[[Path], contextlib.AbstractContextManager[tuple[Receiver, Peer]]], count: int, pairs: int
) -> list[tuple[float, float, float]]:
    """Return the seconds for ``count`` events with fedtrack and with the peer, and the ratio of their CPU time."""
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        folder.mkdir()
        with opened(Path(temporary)) as (receiver, peer):
            delivered = Delivered(folder, receiver)
            delivered.deliver(0, 1000)  # the first block imports and creates
            peer(0, 1000)
            for pair in range(pairs):
                first = 1000 + pair * count
                begun = process_time()
                ours = delivered.deliver(first, count)
                between, started = process_time(), perf_counter()
                peer(first, count)
                theirs = perf_counter() - started
                found.append((ours, theirs, (process_time() - between) / (between - begun)))
        delivered.close()  # after the peer: wandb-core, which serves both, ends with it
    return found


def _backend_table(pairs: int) -> Table:
    rows = []
    for name, opened, count in BACKENDS:
        found = into_backend(opened, count, pairs)
        rates = ([count / times[side] for times in found] for side in (0, 1))
        ratios = [peer / own for own, peer, _ in found]
        cpu = [ratio for _, _, ratio in found]
        rows.append((name, *(spread(rate, "{:,.0f}".format) for rate in rates), spread(ratios), spread(cpu)))
    note = (
        f"{pairs} pairs of blocks; the ratio is that of neighbouring blocks. The peer calls the backend's own fastest "
        "function in a tight loop; fedtrack's events come out of the journal, through delivery and the receiver, and "
        "count once the receiver has flushed them. The ratio of CPU time (the peer's by "
        "fedtrack's, of this process) does not depend on how busy the disk is."
    )
    return Table("Into a backend", ("from the journal into", "fedtrack", "peer", "ratio", "of CPU time"), rows, note)


def run(quick: bool = True) -> list[Table]:
    """Return the tables."""
    # In this order: the first one forks, which is best done before an SDK has started threads.
    return [_journal_table(3 if quick else 9), _backend_table(7 if quick else 21)]
