"""Point count: how many points each run has in a store, with as few reads as the store allows.

* A database counts with one query for many runs. A query for each name took 150 s for 100,000 names.
* A file store has a file for each name, with one line for each point.
* A server has no such query: it is asked for the history of each name, several names at a time. That is where a caller
  wants to know how far it is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from sqlalchemy import Engine

    from fedtrack_mlflow.address import Address

log = logging.getLogger(__name__)

#: Called with the number of steps that are done, and of all steps.
Tell: TypeAlias = Callable[[int, int], None]

#: The most runs in one query: databases limit the number of its parameters.
_RUNS = 500

#: How many names a server is asked for at a time; an MLflow server has four workers by default.
_AT_ONCE = 8


def count_points(client: MlflowClient, address: Address, run_ids: Sequence[str], tell: Tell) -> Counter[str]:
    """Return how many points each run has, by its id; call within ``settings.calm()``.

    Args:
        client: MLflow's client for the store.
        address: The store.
        run_ids: The runs, all of which exist.
        tell: Is called during a count that takes long.
    """
    engine = _engine(address) if address.is_sql else None
    if engine is not None and (found := _in_database(engine, run_ids)) is not None:
        return found
    found = Counter()
    left = []
    for run_id in run_ids:
        folder = _metrics_folder(client, run_id) if address.files is not None else None
        if folder is None:
            left.append(run_id)
        else:
            found[run_id] = _lines(folder)
    return found + _by_name(client, left, tell)


def _engine(address: Address) -> Engine | None:
    from mlflow.tracking._tracking_service.utils import _get_store

    return getattr(_get_store(address.uri), "engine", None)  # type: ignore[no-untyped-call]


def _in_database(engine: Engine, run_ids: Sequence[str]) -> Counter[str] | None:
    """Return the counts from MLflow's own table; None if this version of MLflow has another one."""
    from sqlalchemy import bindparam, text
    from sqlalchemy.exc import OperationalError, ProgrammingError

    query = text("SELECT run_uuid, count(*) FROM metrics WHERE run_uuid IN :runs GROUP BY run_uuid")
    found: Counter[str] = Counter()
    try:
        with engine.connect() as connection:
            for some in _parts(run_ids, _RUNS):
                rows = connection.execute(query.bindparams(bindparam("runs", some, expanding=True)))
                found.update({str(run_id): int(count) for run_id, count in rows})
    except (ProgrammingError, OperationalError) as error:
        if "metrics" not in str(error.orig):  # a database that is locked or gone, which the caller reports
            raise
        log.info("the points are counted by name, because the table of metrics cannot be counted: %s", error.orig)
        return None
    return found


def _metrics_folder(client: MlflowClient, run_id: str) -> Path | None:
    """Return the folder of a run's metrics in a file store; None if this version of MLflow has another layout."""
    from mlflow.tracking._tracking_service.utils import _get_store

    store = _get_store(client.tracking_uri)  # type: ignore[no-untyped-call]
    root = getattr(store, "root_directory", None)
    experiment = client.get_run(run_id).info.experiment_id
    folder = Path(root) / experiment / run_id / "metrics" if root else None
    return folder if folder is not None and folder.is_dir() else None


def _lines(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                total += sum(1 for _ in file)
    return total


def _by_name(client: MlflowClient, run_ids: Iterable[str], tell: Tell) -> Counter[str]:
    names = [(run_id, name) for run_id in run_ids for name in client.get_run(run_id).data.metrics]
    found: Counter[str] = Counter()
    with ThreadPoolExecutor(_AT_ONCE, "mlflow count") as pool:
        # A part at a time: otherwise the histories that nobody has counted yet would pile up.
        for done, part in enumerate(_parts(names, _AT_ONCE)):
            for (run_id, _), history in zip(part, pool.map(lambda item: _length(client, *item), part), strict=True):
                found[run_id] += history
            tell(min((done + 1) * _AT_ONCE, len(names)), len(names))
    return found


def _length(client: MlflowClient, run_id: str, name: str) -> int:
    return len(client.get_metric_history(run_id, name))


def _parts(items: Iterable[tuple[str, str]] | Iterable[str], size: int) -> Iterator[list]:  # type: ignore[type-arg]
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part
