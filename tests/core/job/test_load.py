"""Exported jobs that were edited by hand: every mistake is one sentence with its place and the valid values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import ConfigError
from fedtrack.job import CrossSiteEval, FedAvgJob, ScriptRunner
from fedtrack.job.load import load_job

SERVER = "app_server/config/config_fed_server.json"
CLIENT = "app_site-1/config/config_fed_client.json"

#: As FLARE's hello-pt-mlflow page prints it.
FLARE_RECEIVERS = [
    {
        "id": "receiver",
        "path": "nvflare.app_opt.tracking.tb.tb_receiver.TBAnalyticsReceiver",
        "args": {"events": ["analytix_log_stats", "fed.analytix_log_stats"]},
    },
    {
        "id": "component",
        "path": "nvflare.app_opt.tracking.mlflow.mlflow_receiver.MLflowReceiver",
        "args": {
            "tracking_uri": "file:///tmp/nvflare/jobs/workdir/server/simulate_job/mlruns",
            "kw_args": {
                "experiment_name": "nvflare-fedavg-experiment",
                "run_name": "nvflare-fedavg-with-mlflow",
                "experiment_tags": {"mlflow.note.content": "## **NVFlare FedAvg experiment with MLflow**"},
                "run_tags": {"mlflow.note.content": "## Federated Experiment tracking with MLflow.\n"},
            },
            "artifact_location": "artifacts",
            "events": ["fed.analytix_log_stats"],
        },
    },
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text("")
    job = FedAvgJob(initial_model={"w": np.ones(3)}, n_clients=1, name="hello")
    job.to_clients(ScriptRunner("client.py"))
    return job.export_job(tmp_path / "jobs")


def edit(path: Path, change: Callable[[Any], None]) -> None:
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def test_removing_the_receiver_leaves_tensorboard_out(folder: Path) -> None:
    assert list(load_job(folder).receivers) == ["receiver"]

    def remove(config: Any) -> None:
        config["components"] = [item for item in config["components"] if item["id"] != "receiver"]

    edit(folder / SERVER, remove)
    assert load_job(folder).receivers == {}


def test_component_json_of_flare_is_accepted_as_it_is(folder: Path) -> None:
    def paste(config: Any) -> None:
        config["components"] = [item for item in config["components"] if item["id"] != "receiver"] + FLARE_RECEIVERS

    edit(folder / SERVER, paste)
    receivers = load_job(folder).receivers
    assert {id_: type(receiver).__name__ for id_, receiver in receivers.items()} == {
        "receiver": "TBAnalyticsReceiver",
        "component": "MLflowReceiver",
    }


def test_an_export_that_says_less_follows_the_defaults(folder: Path) -> None:
    """Exports of earlier versions hold only what differs from the defaults of their time."""
    whole = load_job(folder)

    def shorten(config: Any) -> None:
        for item in config.get("workflows", []) + config.get("components", []):
            item["args"] = {"num_clients": 1} if item["path"] == "FedAvg" else {}
            item["args"] |= {"initial_model": "initial_model.safetensors"} if item["path"] == "ModelPersistor" else {}
        for item in config.get("executors", []):
            item["executor"]["args"] = {"script": "client.py"}

    edit(folder / SERVER, shorten)
    edit(folder / CLIENT, shorten)
    edit(
        folder / "meta.json",
        lambda meta: [meta.pop(name) for name in set(meta) - {"name", "deploy_map", "format_version"}],
    )
    short = load_job(folder)
    assert short.meta == whole.meta
    assert short.workflows == whole.workflows
    assert (short.selector, short.results_json) == (whole.selector, whole.results_json)
    assert [(site.runner, site.streams_to_server) for site in short.sites] == [
        (site.runner, site.streams_to_server) for site in whole.sites
    ]


@pytest.mark.parametrize("path", ["cross_site_eval.CrossSiteEval", "cross_site_model_eval.CrossSiteModelEval"])
def test_workflow_json_of_flare_is_accepted_as_it_is(folder: Path, path: str) -> None:
    pasted = {
        "id": "cross_site_validate",
        "path": f"nvflare.app_common.workflows.{path}",
        "args": {"submit_model_timeout": 600, "validation_timeout": 6000, "cleanup_models": False},
    }
    edit(folder / SERVER, lambda config: config["workflows"].append(pasted))
    workflows = load_job(folder).workflows
    assert list(workflows) == ["controller", "cross_site_validate"]
    assert workflows["cross_site_validate"] == CrossSiteEval()


def cross_site(config: Any, **args: Any) -> None:
    config["workflows"].append({"id": "cross", "path": "CrossSiteEval", "args": args})


def unknown_participant(config: Any) -> None:
    cross_site(config, participating_clients=["site-9"])


def unknown_server_task(config: Any) -> None:
    cross_site(config, submit_model_task_name="upload")


def results_outside_of_the_run(config: Any) -> None:
    generator = next(item for item in config["components"] if item["path"] == "ValidationJsonGenerator")
    generator["args"] = {"results_dir": "../../.."}


def same_workflow_twice(config: Any) -> None:
    config["workflows"].append(config["workflows"][0])


def unknown_path(config: Any) -> None:
    config["components"].append({"id": "x", "path": "os.system"})


def unknown_argument(config: Any) -> None:
    config["components"].append({"id": "x", "path": "mlflow", "args": {"tracking_url": "http://x"}})


def ill_typed_argument(config: Any) -> None:
    config["components"].append({"id": "x", "path": "mlflow", "args": {"tracking_uri": 5}})


def unknown_field(config: Any) -> None:
    config["componentz"] = []


def bad_rounds(config: Any) -> None:
    config["workflows"][0]["args"]["num_rounds"] = "five"


def unknown_workflow(config: Any) -> None:
    config["workflows"][0]["path"] = "FedProx"


def same_id_twice(config: Any) -> None:
    config["components"].append({"id": "receiver", "path": "tensorboard"})


def unknown_event(config: Any) -> None:
    config["components"].append({"id": "x", "path": "tensorboard", "args": {"events": ["metrics"]}})


def newer_format(config: Any) -> None:
    config["format_version"] = 99


def a_secret(config: Any) -> None:
    config["components"].append({"id": "x", "path": "mlflow", "args": {"tracking_uri": "http://a:hunter2@h"}})


def unset_variable(config: Any) -> None:
    config["components"].append({"id": "x", "path": "mlflow", "args": {"tracking_uri": "${ENV:MLFLOW_NOT_SET_XYZ}"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (unknown_path, r"\$\.components\[4\]\.path: No receiver is called 'os\.system'; installed: .*mlflow"),
        (unknown_argument, r"\$\.components\[4\]\.args: .*tracking_url.*valid arguments: .*tracking_uri"),
        (ill_typed_argument, r"\$\.components\[4\]\.args: .*Expected `str \| null`, got `int`.*tracking_uri"),
        (unknown_field, "unknown field `componentz`"),
        (bad_rounds, r"\$\.workflows\[0\]\.args: Expected `int`, got `str` - at `\$\.num_rounds`"),
        (
            unknown_workflow,
            r"\$\.workflows\[0\]\.path: No workflow is called 'FedProx'; installed: .*FedAvg.*pip install",
        ),
        (same_id_twice, "'receiver' is used twice"),
        (same_workflow_twice, r"\$\.workflows\[1\]\.id: 'controller' is used twice"),
        (unknown_participant, "the workflow 'cross': .*'site-9', which is no site of the job: site-1"),
        (unknown_server_task, r"\$\.workflows\[1\]\.args: Invalid enum value 'upload'"),
        (results_outside_of_the_run, r"results_dir is '\.\./\.\./\.\.'; give a relative path without '\.\.'"),
        (unknown_event, r"'metrics' does not exist; valid are 'analytix_log_stats' and 'fed\.analytix_log_stats'"),
        (newer_format, "format_version is 99"),
        (a_secret, "holds a secret"),
        (unset_variable, "needs the environment variable MLFLOW_NOT_SET_XYZ"),
    ],
)
def test_mistake_in_the_server_config(folder: Path, change: Callable[[Any], None], message: str) -> None:
    edit(folder / SERVER, change)
    with pytest.raises(ConfigError, match=message) as caught:
        load_job(folder)
    assert "config_fed_server.json" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def no_events_to_convert(config: Any) -> None:
    config["components"][0]["args"] = {"events_to_convert": []}


def two_converters(config: Any) -> None:
    config["components"].append({"id": "again", "path": "ConvertToFedEvent"})


def a_selector_at_a_site(config: Any) -> None:
    config["components"].append({"id": "best", "path": "IntimeModelSelector"})


def a_runner_as_a_component(config: Any) -> None:
    config["components"].append({"id": "run", "path": "ScriptRunner", "args": {"script": "client.py"}})


def no_name(config: Any) -> None:
    config["components"][0]["id"] = ""


def only_validation(config: Any) -> None:
    config["executors"][0]["tasks"] = ["validate"]


def no_events(config: Any) -> None:
    config["components"].append({"id": "tb", "path": "tensorboard", "args": {"events": []}})


def the_same_event_twice(config: Any) -> None:
    config["components"].append({"id": "tb", "path": "tensorboard", "args": {"events": ["analytix_log_stats"] * 2}})


def a_folder_above(config: Any) -> None:
    args = {"events": ["analytix_log_stats"], "tb_folder": "../../../escaped"}
    config["components"].append({"id": "tb", "path": "tensorboard", "args": args})


def a_store_above(config: Any) -> None:
    args = {"events": ["analytix_log_stats"], "tracking_uri": "file:///tmp/../etc/mlruns"}
    config["components"].append({"id": "ml", "path": "mlflow", "args": args})


def script_args(text: str) -> Callable[[Any], None]:
    return lambda config: config["executors"][0]["executor"]["args"].update(script_args=text)


def command(text: str) -> Callable[[Any], None]:
    return lambda config: config["executors"][0]["executor"]["args"].update(command=text)


def an_argument_of_flare(config: Any) -> None:
    config["components"][0]["args"] = {"fed_event_prefix": "other."}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_events_to_convert, r"\$\.components\[0\]\.args: .*events_to_convert is empty; remove the component"),
        (two_converters, r"\$\.components has 2 ConvertToFedEvent"),
        (a_selector_at_a_site, r"\$\.components\[1\]\.path: a IntimeModelSelector has no effect here"),
        (a_runner_as_a_component, r"a ScriptRunner is no component; it goes to \$\.executors"),
        (no_name, r"\$\.components\[0\]\.id is ''; use 1 to 64"),
        (only_validation, r"\$\.executors\[0\]\.tasks lacks 'train'"),
        (no_events, r"\$\.components\[1\]\.args\.events is empty; name an event"),
        (the_same_event_twice, r"\$\.components\[1\]\.args\.events names 'analytix_log_stats' twice"),
        (a_folder_above, r"\$\.components\[1\]\.args\.tb_folder is '\.\./\.\./\.\./escaped'; give a place without"),
        (a_store_above, r"\$\.components\[1\]\.args\.tracking_uri is 'file:///tmp/\.\./etc/mlruns'"),
        (script_args("--note 'open"), r"\$\.executors\[0\].*script_args is .*: No closing quotation"),
        (command(""), r"\$\.executors\[0\].*command is empty; give a command"),
        (command("python3 'x"), r"command is .*which a shell cannot split"),
        (an_argument_of_flare, r"Invalid enum value 'other\.'"),
    ],
)
def test_mistake_in_a_sites_config(folder: Path, change: Callable[[Any], None], message: str) -> None:
    edit(folder / CLIENT, change)
    with pytest.raises(ConfigError, match=message) as caught:
        load_job(folder)
    assert "config_fed_client.json" in str(caught.value)


def test_an_argument_that_only_flare_has_is_refused_under_our_names(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit(folder / SERVER, lambda config: config["workflows"][0]["args"].update(persistor_id="other"))
    with pytest.raises(ConfigError, match=r"workflows\[0\]\.args\.persistor_id has no effect in fedtrack; remove it"):
        load_job(folder)
    name = "nvflare.app_common.workflows.fedavg.FedAvg"
    edit(folder / SERVER, lambda config: config["workflows"][0].update(path=name))
    load_job(folder)
    assert "args.persistor_id has no effect in fedtrack." in caplog.text
    caplog.clear()
    edit(folder / SERVER, lambda config: config["workflows"][0]["args"].update(persistor_id="persistor"))
    load_job(folder)
    assert caplog.text == ""


def test_a_link_out_of_the_job_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("")
    (folder / "app_site-1" / "custom" / "shadow").symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"custom/shadow is a link out of the job's folder"):
        load_job(folder)


def test_script_outside_the_job_is_refused(folder: Path) -> None:
    (folder / "evil.py").write_text("")

    def escape(config: Any) -> None:
        config["executors"][0]["executor"]["args"]["script"] = "../../evil.py"

    edit(folder / CLIENT, escape)
    with pytest.raises(ConfigError, match=r"'\.\./\.\./evil\.py' is no file in"):
        load_job(folder)


def test_missing_and_broken_files(folder: Path) -> None:
    (folder / CLIENT).write_text("{")
    with pytest.raises(ConfigError, match=r"config_fed_client\.json"):
        load_job(folder)
    (folder / CLIENT).unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_job(folder)
    with pytest.raises(ConfigError, match=r"is a file and no job's folder; .*python config_fed_server\.json"):
        load_job(folder / SERVER)


def test_reference_is_resolved_where_it_is_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_MY_SERVER", "http://127.0.0.1:5000")

    def refer(config: Any) -> None:
        config["components"].append({"id": "x", "path": "mlflow", "args": {"tracking_uri": "${ENV:MLFLOW_MY_SERVER}"}})

    edit(folder / SERVER, refer)
    assert load_job(folder).receivers["x"].options.tracking_uri == "http://127.0.0.1:5000"  # type: ignore[attr-defined]
    assert "127.0.0.1" not in (folder / SERVER).read_text()
