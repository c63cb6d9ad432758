"""A training script with FLARE's calls, in all forms that its users write; only the imports are fedtrack's."""

# mypy: ignore-errors
# Untyped, as such scripts are.

import argparse
import json
from pathlib import Path

import numpy as np

import fedtrack.client as flare
from fedtrack.client import AnalyticsDataType, FLModel, ModelName, ParamsType
from fedtrack.client.tracking import MLflowWriter, SummaryWriter, WandBWriter


def evaluate(params):
    return float(sum(np.sum(value) for value in params.values()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float)
    parser.add_argument("--note")
    args = parser.parse_args()

    flare.init(rank="0")
    sys_info = flare.system_info()
    seen = {"system_info": sys_info, "config": flare.get_config(), "args": vars(args), "tasks": []}
    assert sys_info["site_name"] == flare.get_site_name()
    assert sys_info["job_id"] == flare.get_job_id()

    summary_writer = SummaryWriter()
    mlflow = MLflowWriter()
    wandb_writer = WandBWriter()
    mlflow.log_param("lr", args.lr)
    mlflow.log_params({"momentum": 0.5, "name": "SGD"})
    mlflow.log_text(f"starting at {flare.get_site_name()}", "start.txt")
    mlflow.set_tag("site", sys_info["site_name"])
    mlflow.set_tags({"phase": "train", "owner": "tests"})

    while flare.is_running():
        input_model = flare.receive(timeout=600)
        seen["tasks"].append(flare.get_task_name())

        if flare.is_submit_model():
            assert input_model.meta.get("submit_model_name") in (ModelName.BEST_MODEL, ModelName.FINAL_MODEL)
            flare.send(FLModel(params={"w": np.zeros((2, 2), np.float32)}))
            continue
        score = evaluate(input_model.params)
        if flare.is_evaluate():
            flare.send(flare.FLModel(metrics={"accuracy": score}))
            continue
        assert flare.is_train()

        r, total = input_model.current_round, input_model.total_rounds
        print(f"site={flare.get_site_name()} current_round={r} total_rounds={total}")
        for step in range(3):
            global_step = r * 3 + step
            loss = 1.0 / (1 + global_step)
            summary_writer.add_scalar(tag="tb/loss", scalar=loss, global_step=global_step)
            summary_writer.add_scalar("tb/loss_function", np.float32(0.5), global_step)
            summary_writer.add_scalars("tb/pair", {"a": 1, "b": 2}, global_step)
            mlflow.log_metric("ml/loss", loss, global_step)
            mlflow.log_metric(key="ml/accuracy", value=score, step=global_step)
            mlflow.log_metrics({"ml/a": 1.0, "ml/b": 2.0}, step=global_step)
            wandb_writer.log({"wb/loss": loss, "wb/score": score}, global_step)
            wandb_writer.log({"wb/alone": loss}, step=global_step)
        flare.log("raw/loss", 0.25, AnalyticsDataType.SCALAR, global_step=r)
        flare.log(key="raw/pair", value={"raw/a": 1.0, "raw/b": 2.0}, data_type=AnalyticsDataType.METRICS, step=r)
        flare.log("raw/param", "x", "PARAMETER")
        flare.log("raw/text", f"round {r}", "TEXT")
        summary_writer.flush()

        output_model = flare.FLModel(
            params_type=ParamsType.DIFF,
            params={name: np.full_like(value, args.lr) for name, value in input_model.params.items()},
            metrics={"accuracy": score},
            meta={"NUM_STEPS_CURRENT_ROUND": 3},
        )
        flare.send(output_model, clear_cache=True)
        flare.clear()

    Path(f"seen-{flare.get_site_name()}.json").write_text(json.dumps(seen))
    flare.shutdown()


if __name__ == "__main__":
    main()
