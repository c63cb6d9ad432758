"""fedtrack-lightning with Lightning itself: its Trainer, its modules, and a federation of them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning", reason="Lightning has an environment of its own: make loops-env")

import lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from fedtrack.client import FLModel, ModelName
from fedtrack.client.backend import use
from fedtrack.errors import ConfigError
from fedtrack.journal.journal import Journal
from fedtrack.spool.frames import split
from fedtrack.testing import MemoryLog
from fedtrack.tracking import MediaWriter, writer
from fedtrack.tracking.records import Image, decode
from fedtrack_lightning import FedtrackLogger, patch
from support.training_loops import EXAMPLES, Logged, logged, metrics, params, rejected, run_example

__all__ = ["logged"]

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # Lightning's own

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "log_every_n_steps": 1,
}


def test_the_example_is_tracked(logged: Logged) -> None:
    run_example("lightning_digits.py")
    found = logged()
    assert [step for step, _ in metrics(found, "train_loss")] == list(range(28))
    assert [step for step, _ in metrics(found, "val_accuracy")] == [13, 27]
    assert params(found)["lr"] == 0.05
    assert rejected(found) == []


class Module(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Any, index: int) -> Any:
        return (self.w - batch[0]).square().mean()

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("distance", (self.w - batch[0]).abs().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.5)


def data() -> Any:
    return DataLoader(TensorDataset(torch.ones(4)), batch_size=2)


def test_a_prefix_nested_params_and_the_writer_of_a_script(tmp_path: Path) -> None:
    log = MemoryLog(tmp_path)
    before = writer.bind(log)
    try:
        logger = FedtrackLogger("digits", "a", prefix="site")
        logger.log_metrics({"loss": torch.tensor(0.5), "epoch": 1}, step=3)
        logger.log_hyperparams({"opt": {"lr": 0.1}, "layers": [8, 8]}, {"best": 1.0})
        assert isinstance(logger.experiment, MediaWriter)
        logger.experiment.record_pixels("picture", torch.zeros(4, 4), dataformats="HW")
        logger.save()
        logger.finalize("success")
        again = pickle.loads(pickle.dumps(logger))  # noqa: S301 - as Lightning does for processes that it spawns
        again.log_metrics({"later": 1.0}, 0)
    finally:
        writer.bind(before)
    found: Any = log.records
    assert (logger.name, logger.version) == ("digits", "a")
    assert metrics(found, "site/loss") == [(3, 0.5)]
    assert metrics(found, "site/best") == [(None, 1.0)]
    assert params(found) == {"opt/lr": 0.1, "layers": "[8, 8]"}
    assert metrics(found, "site/later") == [(0, 1.0)]
    assert [record.key for record in found if isinstance(record, Image)] == ["picture"]


def test_only_rank_0_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    log = MemoryLog(tmp_path)
    before = writer.bind(log)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    try:
        logger = FedtrackLogger()
        logger.log_metrics({"loss": 1.0}, 0)
        logger.log_hyperparams({"lr": 0.1})
        logger.experiment.record_metric("loss", 1.0)
    finally:
        writer.bind(before)
    assert log.records == []


class Tasks:
    """The engine's side of the client API, with a list of tasks."""

    site_name, job_id, config = "site-1", "job", dict[str, Any]()

    def __init__(self, *names: str) -> None:
        self._names = list(names)
        self.task_name = ""
        self.sent: list[tuple[str, FLModel]] = []

    def is_running(self) -> bool:
        if not self.task_name and self._names:
            self.task_name = self._names.pop(0)
        return bool(self.task_name)

    def receive(self, timeout: float | None = None) -> FLModel | None:
        if not self.is_running():
            return None
        meta = {"submit_model_name": ModelName.BEST_MODEL} if self.task_name == "submit_model" else {}
        params = {} if meta else {"w": torch.full((1,), float(len(self.sent) * 10))}
        return FLModel(params=params or None, meta=meta, current_round=len(self.sent))

    def send(self, model: FLModel) -> None:
        assert self.task_name
        copies = {name: value.clone() for name, value in (model.params or {}).items()}
        self.sent.append((self.task_name, FLModel(params=copies or None, metrics=model.metrics, meta=model.meta)))
        self.task_name = ""

    def shutdown(self) -> None:
        self._names = []


def play(*names: str, again: bool = False, **options: Any) -> list[tuple[str, FLModel]]:
    tasks = Tasks(*names)
    use(tasks)
    try:
        trainer = pl.Trainer(max_epochs=2, logger=False, **QUIET)
        patch(trainer, **options)
        patch(trainer, **options)  # a second time changes nothing
        module = Module()
        while tasks.is_running():
            trainer.validate(module, data(), verbose=False)
            trainer.fit(module, data())
            if again:
                trainer.validate(module, data(), verbose=False)  # the site's own model
    finally:
        use(None)
    return tasks.sent


def descended(weight: float, velocity: float = 0.0, steps: int = 4) -> tuple[float, float]:
    """Return where SGD with momentum gets from ``weight``: the loss is the square of the distance to 1."""
    for _ in range(steps):
        velocity = 0.5 * velocity + 2 * (weight - 1)
        weight -= 0.1 * velocity
    return weight, velocity


@pytest.mark.parametrize("again", [False, True])
def test_each_round_trains_the_global_model_and_sends_it(again: bool) -> None:
    first, second = play("train", "train", again=again)
    weight, velocity = descended(0)
    assert first[1].params is not None
    assert first[1].params["w"].item() == pytest.approx(weight)
    assert first[1].metrics == {"distance": pytest.approx(1)}  # of the global model, 0
    assert first[1].meta["NUM_STEPS_CURRENT_ROUND"] == 4
    assert second[1].params is not None
    assert second[1].params["w"].item() == pytest.approx(descended(10, velocity)[0])  # the momentum was kept
    assert second[1].metrics == {"distance": pytest.approx(9)}
    assert second[1].meta["NUM_STEPS_CURRENT_ROUND"] == 4


def test_optimizers_begin_anew_if_asked() -> None:
    _, second = play("train", "train", restore_state=False)
    assert second[1].params is not None
    assert second[1].params["w"].item() == pytest.approx(descended(10)[0])


def test_tasks_that_do_not_train() -> None:
    sent = play("train", "validate", "submit_model", "validate", "train")
    assert [name for name, _ in sent] == ["train", "validate", "submit_model", "validate", "train"]
    assert [model.metrics for _, model in sent] == [
        {"distance": pytest.approx(1)},
        {"distance": pytest.approx(9)},
        None,
        {"distance": pytest.approx(29)},
        {"distance": pytest.approx(39)},
    ]
    assert sent[1][1].params is None
    assert sent[2][1].params is not None
    assert sent[4][1].meta["NUM_STEPS_CURRENT_ROUND"] == 4


def test_a_trainer_of_the_other_lightning_is_refused() -> None:
    import pytorch_lightning

    with pytest.raises(ConfigError, match=r"import fedtrack_lightning after the Lightning of your script"):
        patch(pytorch_lightning.Trainer(logger=False, **QUIET))


def test_the_other_lightning_is_used_where_a_script_imports_it(tmp_path: Path) -> None:
    code = (
        "import pytorch_lightning as pl, fedtrack_lightning as flare\n"
        "assert isinstance(flare.logger(), pl.loggers.Logger)\n"
        "assert issubclass(flare.FLCallback, pl.Callback)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, check=True, timeout=120)


@pytest.mark.slow
def test_a_federation_of_trainers(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "federated-lightning" / "job.py"), str(tmp_path / "work")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "work").rglob("journal.db")
    journal = Journal(path, read_only=True)
    found: dict[str, list[Any]] = {}
    for batch in journal.read(0):
        found.setdefault(batch.site, []).extend(decode(payload) for _, payload in split(batch.body))
    journal.close()
    for site in ("site-1", "site-2"):
        assert [step for step, _ in metrics(found[site], "train_loss")] == list(range(21))  # 7 in each of 3 rounds
    scores = [value for _, value in metrics(found["server"], "val_accuracy")]
    assert scores == sorted(scores)
    assert len(set(scores)) == 3  # each round trained another model
