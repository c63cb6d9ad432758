"""Three writers and three receivers: every record is in every store, or counted because the store cannot hold it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedtrack.journal.journal import Journal
from fedtrack.runs.result import RunResult
from fedtrack.tracking.records import AnyRecord, Control, Metric, decode
from fedtrack_mlflow import MLflowReceiver
from fedtrack_wandb import WandBReceiver

from .conftest import make_job
from .stores import Stored, read_mlflow, read_tensorboard, read_wandb

WRITERS = ("tensorboard", "mlflow", "wandb")

READERS: dict[str, Callable[[Path], dict[str, Stored]]] = {
    "tensorboard": lambda folder: read_tensorboard(folder / "tb_events"),
    "mlflow": lambda folder: read_mlflow(folder / "mlflow.db"),
    "wandb": read_wandb,
}

SITES = ("site-1", "site-2")


@dataclass
class Logged:
    """What a site logs with one writer in the two rounds of ``scripts/log_<writer>.py``.

    Attributes:
        stepped: Metrics with the steps 0 to 39.
        other: Values of all other metrics.
        texts: By key; what MLflow's users log as files is under its path.
        kinds: How many records of each kind.
    """

    kinds: dict[str, int]
    stepped: tuple[str, ...] = ("train/loss", "both/a", "both/b")
    other: dict[str, list[float]] = field(default_factory=lambda: {"stepless": [0.0, 0.25]})
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=lambda: {"note": ["round 0", "round 1"]})
    images: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, list[float]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


LOGGED = {
    "tensorboard": Logged(
        {"metric": 123, "param": 2, "text": 2, "image": 2, "histogram": 2},
        other={"stepless": [0.0, 0.25], "hparam/accuracy": [0.25]},
        params={"lr": "0.5", "optimizer": "sgd"},
        images={"pixels": 2},
        histograms={"weights": [10.0, 11.0]},
    ),
    "mlflow": Logged(
        {"metric": 122, "param": 3, "tag": 3, "text": 4, "artifact": 2},
        params={"lr": "0.5", "optimizer": "sgd", "epochs": "2"},
        tags={"team": "red", "phase": "warm-up", "gpu": "False"},
        texts={f"note-{r}.txt": [f"round {r}"] for r in (0, 1)}
        | {f"state-{r}.json": [f'{{\n  "round": {r}\n}}'] for r in (0, 1)},
        files={f"models/{r}/weights.bin": bytes(range(256)) for r in (0, 1)},
    ),
    "wandb": Logged({"metric": 122, "text": 2}, stepped=("train/loss", "both.a", "both.b")),
}


@dataclass
class Played:
    """A job that has run, and what was printed and logged meanwhile."""

    result: RunResult
    said: str


class Stage:
    """Runs the job of each writer once, with all three receivers on the server."""

    def __init__(self, folder: Callable[[str], Path]) -> None:
        self._folder = folder
        self._played: dict[str, Played] = {}

    def play(self, writer: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Played:
        if writer not in self._played:
            job = make_job(f"log_{writer}.py", view=True)  # the TensorBoard receiver comes with it
            job.to_server(MLflowReceiver(), id="mlflow")
            job.to_server(WandBReceiver(), id="wandb")
            result = job.simulator_run(self._folder(writer))
            # The job runs in a process of its own if another test has imported torch in this one.
            self._played[writer] = Played(result, caplog.text + capfd.readouterr().err)
        return self._played[writer]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp)


@pytest.mark.xdist_group("nine-pairs")
@pytest.mark.parametrize("receiver", READERS)
@pytest.mark.parametrize("writer", WRITERS)
def test_pair(
    writer: str, receiver: str, stage: Stage, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    played, logged = stage.play(writer, caplog, capfd), LOGGED[writer]
    stored = READERS[receiver](played.result.folder)
    assert set(stored) == {*SITES, "server"}
    own = events_of(played.result.folder, "server")
    assert len(own) == played.result.sites["server"].journaled
    assert stored["server"].points == sum(isinstance(record, Metric) for record in own) > 0
    for site in SITES:
        assert played.result.sites[site].journaled == sum(logged.kinds.values())
        check(stored[site], logged, receiver)
    check_summary(played, logged, receiver)


def events_of(folder: Path, site: str) -> list[AnyRecord | Control]:
    """Return the events of a site in the journal of a run."""
    journal = Journal(folder / "journal.db", read_only=True)
    bodies = [batch for batch in journal.read(0, 2**40) if batch.site == site]
    journal.close()
    return [decode(payload) for batch in bodies for _, payload in batch.events()]


def check(found: Stored, logged: Logged, receiver: str) -> None:
    for key in logged.stepped:
        assert [step for step, _ in found.metrics[key]] == list(range(40)), key
    assert found.values("train/loss") == [1 / 2 ** (step % 8) for step in range(40)]
    assert found.values(logged.stepped[1]) == [step / 8 for step in range(40)]
    assert {key: found.values(key) for key in logged.other} == logged.other
    assert found.points == logged.kinds["metric"]
    assert (found.params, found.tags) == (logged.params, logged.tags)
    assert (found.images, found.histograms) == (logged.images, logged.histograms)
    texts, files = dict(found.texts), dict(found.files)
    if receiver == "mlflow":  # keeps a text without a step as the file that its path names
        texts |= {path: [files.pop(path).decode()] for path in set(files) & set(logged.texts)}
    if receiver == "wandb":  # shows text of several lines as a page
        pages = [key for key, values in logged.texts.items() if "\n" in values[0]]
        assert [found.pages.pop(key) for key in pages] == [logged.texts[key] for key in pages]
        texts |= {key: logged.texts[key] for key in pages}
    assert texts == logged.texts
    assert files == logged.files


def check_summary(played: Played, logged: Logged, receiver: str) -> None:
    summary = played.result.receivers["receiver" if receiver == "tensorboard" else receiver]
    assert not summary.skipped
    everything = sum(site.journaled for site in played.result.sites.values())
    assert (summary.delivered, summary.dead, summary.pending) == (everything, 0, 0)


def test_every_kind_of_record_is_logged_by_some_writer() -> None:
    kinds = {kind for logged in LOGGED.values() for kind in logged.kinds}
    assert kinds == {"metric", "param", "tag", "text", "image", "histogram", "artifact"}
