"""The logging lines of well-known training scripts, with nothing changed but what the three names stand for.

Each function has the calls of one script, in the order of that script and with the values that it has there. Right: no
call raises, and none is rejected.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedtrack.testing import MemoryLog
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Rejected, Tag, Text
from fedtrack_mlflow import MLflowWriter
from fedtrack_tensorboard import SummaryWriter
from fedtrack_wandb import WandBWriter

pytestmark = pytest.mark.torch

Script = Callable[[Path], None]
SCRIPTS: list[Script] = []


def script(function: Script) -> Script:
    SCRIPTS.append(function)
    return function


@script
def mnist_with_tensorboard(folder: Path) -> None:
    """Digits: a figure of predictions, a grid of images, weights and a precision-recall curve for each class."""
    writer = SummaryWriter("runs/fashion_mnist_experiment_1")
    writer.add_image("four_fashion_mnist_images", torch.rand(3, 32, 122))
    writer.add_images("batch", torch.rand(16, 1, 28, 28), 0)
    writer.add_embedding(torch.rand(4, 784), metadata=["a", "b", "c", "d"], label_img=torch.rand(4, 1, 28, 28))
    for batch in range(3):
        writer.add_scalar("training loss", 0.5, 1 * 938 + batch)
        writer.add_scalars("loss", {"train": 0.5, "test": torch.tensor(0.6)}, global_step=batch)
        writer.add_histogram("conv1.weight", torch.rand(8, 1, 3, 3), batch)
    writer.add_pr_curve("shirt", torch.tensor([1, 0, 1]), torch.tensor([0.8, 0.1, 0.7]), global_step=0)
    writer.flush()
    writer.close()


@script
def language_model_with_hparams(folder: Path) -> None:
    """Perplexity by epoch, and one trial for each learning rate."""
    for number, lr in enumerate((20, 5)):
        with SummaryWriter(comment=f"_lr{lr}", flush_secs=30, max_queue=50) as w:
            w.add_text("args", str(argparse.Namespace(lr=lr, tied=True)), 0)
            for epoch in range(2):
                w.add_scalar("ppl/valid", np.exp(5.1), epoch, walltime=1_700_000_000 + epoch)
            w.add_hparams({"lr": lr, "tied": True, "model": "LSTM"}, {"hparam/ppl": 120.5}, run_name=f"trial{number}")


@script
def image_classification_with_wandb(folder: Path) -> None:
    """The summary of an epoch, as an ordered mapping with rates as rows, under the name of the experiment."""
    wandb = WandBWriter()
    wandb.init(project="timm", name="resnet50", config=argparse.Namespace(lr=0.1, opt="sgd", mean=(0.485, 0.456)))
    for epoch in range(2):
        row = {"epoch": epoch}
        row.update([("train_loss", 6.9), ("eval_loss", 6.8), ("eval_top1", 0.1 * epoch), ("eval_top5", 0.5)])
        row["lr"] = np.float64(0.1)
        wandb.log(row)
    wandb.finish()


@script
def small_gpt_with_wandb(folder: Path) -> None:
    """A config of globals, rows at an interval, and the model's utilisation."""
    wandb = WandBWriter()
    run = wandb.init(project="owt", name="gpt2-124M", config={"batch_size": 12, "compile": True, "device": "cpu"})
    for iteration in range(0, 3000, 1000):
        losses = {"train": torch.tensor(3.1), "val": torch.tensor(3.2)}
        wandb.log(
            {
                "iter": iteration,
                "train/loss": losses["train"],
                "val/loss": losses["val"],
                "lr": 6e-4,
                "mfu": -1.0 * 100,
            }
        )
    assert run.config["batch_size"] == wandb.config.batch_size == 12


@script
def object_detection_with_all_three(folder: Path) -> None:
    """Boxes, sample batches as pictures, curves as files, the best weights, and results at the end."""
    (folder / "weights").mkdir()
    (folder / "weights" / "best.pt").write_bytes(b"weights")
    (folder / "results.csv").write_text("epoch,map\n0,0.1\n")
    metrics = {"metrics/mAP50(B)": 0.31, "metrics/mAP50-95(B)": np.float32(0.22), "val/box_loss": 1.2}
    tb = SummaryWriter(str(folder / "tb"))
    for name, value in metrics.items():
        tb.add_scalar(name, value, 0)
    tb.add_image_with_boxes("val", torch.rand(3, 40, 60), torch.tensor([[5, 5, 30, 30]]), 0, labels=["cat"])
    tb.add_figure("results", figure(), global_step=0)
    mlflow = MLflowWriter()
    mlflow.set_tracking_uri("file:./runs/mlflow")
    mlflow.set_experiment("/Shared/detector")
    active = mlflow.active_run() or mlflow.start_run(run_name="train")
    mlflow.log_params({"imgsz": 640, "augment": {"mosaic": 1.0}})
    mlflow.log_metrics(
        metrics={name.replace("(", "").replace(")", ""): value for name, value in metrics.items()}, step=0
    )
    mlflow.log_artifact(str(folder / "weights"))
    mlflow.log_artifact(str(folder / "results.csv"), artifact_path="files")
    assert active.info.run_id
    mlflow.end_run()
    wandb = WandBWriter()
    wandb.run or wandb.init(project="detector", config={"epochs": 1})
    wandb.run.log(metrics, step=1)
    wandb.run.log({"Mosaics": [wandb.Image(np.zeros((8, 8, 3), np.uint8), caption="0.jpg") for _ in range(2)]}, step=1)
    artifact = wandb.Artifact(type="model", name=f"run_{wandb.run.id}_model")
    artifact.add_file(str(folder / "weights" / "best.pt"))
    wandb.run.log_artifact(artifact, aliases=["best"])
    table = wandb.Table(columns=["class", "ap"], data=[["cat", 0.5]])
    wandb.run.log({"curves/Precision-Recall": wandb.plot.line(table, "class", "ap", title="PR")})
    wandb.run.summary["metrics/best"] = 0.31
    wandb.run.finish()


@script
def reference_classification(folder: Path) -> None:
    """Meters by name, with a global average as a tensor of one element."""
    writer = SummaryWriter(log_dir=folder / "logs", purge_step=0)
    meters = {"loss": SimpleNamespace(global_avg=2.3), "acc1": SimpleNamespace(global_avg=torch.tensor([10.0]))}
    for name, meter in meters.items():
        writer.add_scalar(f"train/{name}", meter.global_avg, 0)
    (Path(writer.log_dir) / "checkpoint.txt").write_text("torch creates this folder, and scripts write into it")


@script
def transformer_without_trainer(folder: Path) -> None:
    """What a tracker of a library calls: hyperparameters once, rows of mixed values, pictures and tables."""
    config = {"model": "bert", "lr": 5e-5, "with_tracking": True, "seed": None, "type": "linear"}
    tb = SummaryWriter("logs/glue_no_trainer")
    tb.add_hparams({key: str(value) for key, value in config.items()}, metric_dict={})
    for key, value in {"accuracy": 0.8, "train_loss": torch.tensor(0.5), "epoch": 0, "step": 100}.items():
        tb.add_scalar(key, value, global_step=0)
    tb.add_images("samples", np.random.default_rng(0).random((2, 8, 8, 3)), global_step=0, dataformats="NHWC")
    wandb = WandBWriter()
    run = wandb.init(project="glue_no_trainer")
    wandb.config.update(config, allow_val_change=True)
    run.log({"accuracy": {"accuracy": 0.8, "f1": 0.9}, "train_loss": 0.5}, step=0, commit=None)
    run.log({"images": [wandb.Image(image) for image in np.zeros((2, 8, 8, 3))]}, step=0)
    run.log({"table": wandb.Table(columns=["text"], data=[["good"]])}, step=0)
    mlflow = MLflowWriter()
    mlflow.log_params(config)
    mlflow.log_metrics({"accuracy": 0.8}, step=0)
    mlflow.log_figure(figure(), artifact_file="figures/loss.png")


@script
def examples_of_mlflow(folder: Path) -> None:
    """The quick start, a nested search, a table of predictions and a dict as YAML."""
    mlflow = MLflowWriter()
    mlflow.set_experiment("quickstart")
    with mlflow.start_run(run_name="search", tags={"team": "a"}, description="A search.") as parent:
        for depth in (2, 4):
            with mlflow.start_run(run_name=f"depth-{depth}", nested=True) as child:
                mlflow.log_param("max_depth", depth)
                mlflow.log_metric("rmse", 0.7, step=depth, synchronous=False).wait()
                assert child.info.run_id
        mlflow.log_metric("best_rmse", "0.65")
        mlflow.log_dict({"depth": [2, 4]}, "search.yaml")
        mlflow.log_text("# Result", "report.md")
        mlflow.log_table({"question": ["a"], "answer": ["b"]}, artifact_file="answers.json")
        mlflow.log_image(np.zeros((8, 8, 3), np.uint8), key="sample", step=1)
        mlflow.set_tags({"phase": "done", "n": 3})
        assert parent.info.status == "RUNNING"
    assert mlflow.active_run() is not None


def figure() -> Any:
    from matplotlib.figure import Figure

    made = Figure(figsize=(2, 1), dpi=50)
    made.subplots().plot([1, 2])
    return made


@pytest.mark.parametrize("lines", SCRIPTS, ids=lambda lines: lines.__name__)
def test_no_logging_line_is_broken(
    memory_log: MemoryLog, lines: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines(tmp_path)
    assert [record for record in memory_log.records if isinstance(record, Rejected)] == []
    assert memory_log.records


def test_every_kind_is_logged_by_these_scripts(
    memory_log: MemoryLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for lines in SCRIPTS:
        lines(tmp_path)
    found = {type(record) for record in memory_log.records}
    assert found == {Metric, Param, Tag, Text, Image, Histogram, Artifact}
