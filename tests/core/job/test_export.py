"""The files of an exported job; and the exported job is the one that runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import ConfigError
from fedtrack.job import BaseFedJob, CrossSiteEval, FedAvg, FedAvgJob, FedJob, ScriptRunner, ValidationJsonGenerator
from fedtrack.job.config import Meta
from fedtrack.job.export import export_job
from fedtrack.job.load import load_job
from fedtrack.plugins import remedy
from fedtrack_local.models.params import load_params
from fedtrack_mlflow import MLflowReceiver

SERVER = "app_server/config/config_fed_server.json"
CLIENT = "app_site-1/config/config_fed_client.json"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "client.py").write_text("import numpy\nfrom model import Net\nimport networks.big\n")
    (tmp_path / "model.py").write_text("import helper\n")
    (tmp_path / "helper.py").write_text("")
    (tmp_path / "unused.py").write_text("")
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "big.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_job(**kwargs: object) -> FedAvgJob:
    job = FedAvgJob(initial_model={"w": np.ones(3, np.float32)}, n_clients=2, num_rounds=3, name="hello", **kwargs)
    job.to_clients(ScriptRunner("client.py", script_args="--lr 0.1 --note 'two words'"))
    return job


def test_folder_has_the_documented_layout(project: Path) -> None:
    folder = make_job().export_job(project / "jobs")
    assert folder == project / "jobs" / "hello"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "meta.json",
        SERVER,
        "app_server/custom/initial_model.safetensors",
        *(
            f"app_site-{n}/{name}"
            for n in (1, 2)
            for name in (
                "config/config_fed_client.json",
                "custom/client.py",
                "custom/model.py",
                "custom/helper.py",
                "custom/networks/big.py",
            )
        ),
    }


def test_server_config_names_components_and_no_classes(project: Path) -> None:
    job = make_job()
    job.to_server(MLflowReceiver(tracking_uri="http://localhost:5000", kw_args={"run_name": "r"}))
    config = json.loads((job.export_job(project) / SERVER).read_text())
    (flow,) = config["workflows"]
    assert (flow["id"], flow["path"]) == ("controller", "FedAvg")
    assert {item["id"]: item["path"] for item in config["components"]} == {
        "json_generator": "ValidationJsonGenerator",
        "model_selector": "IntimeModelSelector",
        "receiver": "tensorboard",
        "persistor": "ModelPersistor",
        "component": "mlflow",
    }
    receiver = next(item for item in config["components"] if item["id"] == "component")
    assert receiver["args"]["tracking_uri"] == "http://localhost:5000"
    assert receiver["args"]["kw_args"] == {"run_name": "r"}


def test_every_argument_that_can_be_edited_is_there_also_where_it_is_the_default(project: Path) -> None:
    job = make_job(validation_json_generator=ValidationJsonGenerator(results_dir="results"))
    folder = job.export_job(project)
    server, site = (json.loads((folder / name).read_text()) for name in (SERVER, CLIENT))
    assert [(item["path"], item["args"]) for item in server["workflows"] + server["components"]] == [
        (
            "FedAvg",
            {
                "num_clients": 2,
                "fraction": None,
                "num_rounds": 3,
                "start_round": 0,
                "task_timeout": 0.0,
                "evaluate_final_model": False,
                "seed": 0,
                "aggregator": "weighted",
                "params": "all",
                "max_weight": 0.0,
                "max_norm": 0.0,
            },
        ),
        ("ValidationJsonGenerator", {"results_dir": "results", "json_file_name": "cross_val_results.json"}),
        ("IntimeModelSelector", {"key_metric": "accuracy", "key_metric_mode": "max", "negate_key_metric": False}),
        ("tensorboard", {"events": ["analytix_log_stats", "fed.analytix_log_stats"], "tb_folder": "tb_events"}),
        ("ModelPersistor", {"initial_model": "initial_model.safetensors"}),
    ]
    assert [item["executor"]["args"] for item in site["executors"]] == [
        {
            "script": "client.py",
            "script_args": "--lr 0.1 --note 'two words'",
            "launch_external_process": False,
            "command": "python3 -u",
            "framework": "pytorch",
        }
    ]
    # What FLARE's jobs say and nothing here depends on is no argument to edit.
    assert [(item["path"], item["args"]) for item in site["components"]] == [("ConvertToFedEvent", {})]
    assert json.loads((folder / "meta.json").read_text()).keys() == set(Meta.__struct_fields__)


def test_what_is_exported_is_what_is_loaded(project: Path) -> None:
    job = load_job(make_job(min_clients=1, mandatory_clients=["site-2"]).export_job(project))
    assert [site.name for site in job.sites] == ["site-1", "site-2"]
    assert (job.meta.min_clients, job.meta.mandatory_clients) == (1, ["site-2"])
    assert job.workflows == {"controller": FedAvg(num_clients=2, num_rounds=3)}
    assert list(job.receivers) == ["receiver"]
    assert job.sites[0].script_args == ["--lr", "0.1", "--note", "two words"]
    assert job.sites[0].streams_to_server
    assert job.initial_model is not None
    np.testing.assert_array_equal(load_params(job.initial_model)["w"], np.ones(3, np.float32))


def test_several_workflows_keep_their_order_and_arguments(project: Path) -> None:
    job = make_job(validation_json_generator=ValidationJsonGenerator(json_file_name="all.json"))
    job.to_server(CrossSiteEval(submit_model_timeout=5, participating_clients=["site-2"]))
    folder = job.export_job(project)
    assert json.loads((folder / SERVER).read_text())["workflows"][1] == {
        "id": "controller_1",
        "path": "CrossSiteEval",
        "args": {
            "submit_model_timeout": 5,
            "validation_timeout": 6000.0,
            "participating_clients": ["site-2"],
            "cross_val_dir": "cross_site_val",
            "cleanup_models": False,
            "submit_model_task_name": "submit_model",
        },
    }
    loaded = load_job(folder)
    assert list(loaded.workflows.values()) == [
        FedAvg(num_clients=2, num_rounds=3),
        CrossSiteEval(submit_model_timeout=5, participating_clients=["site-2"]),
    ]
    assert loaded.results_json == ValidationJsonGenerator(json_file_name="all.json")


def test_switches_leave_parts_out(project: Path) -> None:
    job = load_job(make_job(analytics_receiver=False, convert_to_fed_event=False, key_metric="").export_job(project))
    assert job.receivers == {}
    assert job.selector is None
    assert not job.sites[0].streams_to_server


def test_default_receiver_is_left_out_with_a_warning_without_its_plugin(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fedtrack.plugins import unload

    monkeypatch.setenv("FEDTRACK_DISABLE_PLUGINS", "tensorboard")
    unload()
    try:
        job = make_job()
    finally:
        monkeypatch.delenv("FEDTRACK_DISABLE_PLUGINS")
        unload()
    assert "receiver" not in job.placed["server"]
    assert remedy.install("fedtrack[tensorboard]") in caplog.text


def test_site_script_takes_the_place_of_the_common_one(project: Path) -> None:
    (project / "other.py").write_text("")
    job = make_job()
    job.to(ScriptRunner("other.py"), "site-2")
    loaded = load_job(job.export_job(project))
    assert [site.script.name for site in loaded.sites] == ["client.py", "other.py"]


def test_components_of_one_site_and_of_all_get_ids_of_their_own(project: Path) -> None:
    job = make_job()
    job.to(MLflowReceiver(events=["analytix_log_stats"]), "site-1")
    loaded = load_job(job.export_job(project))
    assert [list(site.receivers) for site in loaded.sites] == [["component"], []]


@pytest.mark.parametrize(
    ("command", "there"),
    [
        ("python3 -m nets.client", True),
        ("torchrun --nproc_per_node=2 -m nets", True),
        ("python3 -m nets.absent", False),
        ("python3 -m torch.distributed.run", False),
        ("python3 -u", False),
    ],
)
def test_a_package_that_a_command_names_as_a_module_is_exported(project: Path, command: str, there: bool) -> None:
    (project / "nets").mkdir()
    for name in ("__init__.py", "__main__.py", "client.py", "helper.py"):
        (project / "nets" / name).write_text("")
    job = FedAvgJob(n_clients=1, num_rounds=1, name="as-a-module", analytics_receiver=False)
    job.to_clients(ScriptRunner("nets/client.py", command=command, launch_external_process=True))
    custom = job.export_job(project) / "app_site-1" / "custom"
    assert (custom / "nets" / "helper.py").exists() is there
    assert (custom / "client.py").exists()


def test_exporting_twice_replaces_the_first(project: Path) -> None:
    folder = make_job().export_job(project)
    (folder / "app_site-1" / "custom" / "leftover.py").write_text("")
    assert not (make_job().export_job(project) / "app_site-1" / "custom" / "leftover.py").exists()


def test_export_never_replaces_a_folder_that_is_no_job(project: Path) -> None:
    (project / "hello").mkdir()
    (project / "hello" / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="is no exported job"):
        make_job().export_job(project)
    assert (project / "hello" / "thesis.tex").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConfigError("the model cannot be built")])
def test_an_export_that_is_interrupted_leaves_the_earlier_one_and_nothing_else(
    project: Path, error: BaseException
) -> None:
    def interrupted(recipe: object, target: Path) -> None:
        target.write_bytes(b"half a model")
        raise error

    job = FedAvgJob(initial_model="model.py:Net", n_clients=1, name="hello")
    job.to_clients(ScriptRunner("client.py"))
    for before in ([], ["hello"]):
        with pytest.raises(type(error)):
            export_job(job, project / "jobs", write_model=interrupted)
        assert [path.name for path in (project / "jobs").iterdir()] == before
        make_job().export_job(project / "jobs")
    load_job(project / "jobs" / "hello")


def test_initial_model_of_a_file_is_built_elsewhere(project: Path) -> None:
    (project / "net.py").write_text("import numpy as np\ndef build(n=2):\n    return {'w': np.full(n, 7.0)}\n")
    job = FedAvgJob(initial_model={"path": "net.py:build", "args": {"n": 4}}, n_clients=1, name="built")
    job.to_clients(ScriptRunner("client.py"))
    loaded = load_job(job.export_job(project))
    assert loaded.initial_model is not None
    np.testing.assert_array_equal(load_params(loaded.initial_model)["w"], np.full(4, 7.0))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("net.py", "give 'file.py:callable'"),
        ("missing.py:Net", r"'missing\.py' does not exist"),
        ("helper.py:nothing", "has no callable 'nothing'"),
        (42, "is a int"),
    ],
)
def test_bad_initial_model(project: Path, model: object, message: str) -> None:
    job = FedAvgJob(initial_model=model, n_clients=1)
    job.to_clients(ScriptRunner("client.py"))
    with pytest.raises(ConfigError, match=message):
        job.export_job(project / "jobs")


@pytest.mark.parametrize(
    "args",
    [
        {"tracking_uri": "http://user:pass@host/"},
        {"kw_args": {"run_tags": {"api_key": "abc"}}},
    ],
)
@pytest.mark.threat("T8")
def test_secrets_are_never_exported(project: Path, args: dict[str, object]) -> None:
    job = make_job()
    job.to_server(MLflowReceiver(**args))
    with pytest.raises(ConfigError, match=r"holds a secret; write \$\{ENV:NAME\}") as caught:
        job.export_job(project)
    assert "pass@" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_job_without_workflow_script_or_site_says_so(project: Path) -> None:
    job = FedJob("empty")
    with pytest.raises(ConfigError, match="has no workflow"):
        job.export_job(project)
    job.to_server(FedAvg())
    with pytest.raises(ConfigError, match=r"The job has 0 training scripts; place one with job\.to_clients"):
        job.export_job(project)
    with pytest.raises(ConfigError, match="has no site; give simulator_run n_clients or clients"):
        job.simulator_run(project / "ws")
    job = BaseFedJob("scriptless")
    job.to_server(FedAvg(num_rounds=1))
    job.site_names.append("site-1")
    with pytest.raises(ConfigError, match="site-1 has 0 training scripts"):
        job.export_job(project)


def test_things_that_cannot_be_placed(project: Path) -> None:
    job = make_job()
    with pytest.raises(ConfigError, match="A int cannot be placed"):
        job.to_server(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="FedAvg runs on the server"):
        job.to(FedAvg(), "site-1")
    with pytest.raises(ConfigError, match="ScriptRunner runs at a site"):
        job.to_server(ScriptRunner("client.py"))
    with pytest.raises(ConfigError, match=r"site's name is '\.\./x'; use 1 to 64 letters"):
        job.to(ScriptRunner("client.py"), "../x")
