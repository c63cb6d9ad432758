"""Each installation has exactly the receivers that its extras name, and no other SDK."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from support.venv import ROOT

from .conftest import Site

pytestmark = [pytest.mark.xdist_group("packaging"), pytest.mark.timeout(600)]

MakeSite = Callable[..., Site]

SDKS = {
    "tensorboard": {"tensorboard", "google-crc32c"},
    "mlflow": {"mlflow-skinny", "sqlalchemy", "alembic"},
    "wandb": {"wandb"},
}
FIRST_PARTY = tuple(SDKS)


@pytest.mark.parametrize("extra", FIRST_PARTY)
def test_an_extra_brings_its_receiver_and_nothing_else(make_site: MakeSite, extra: str) -> None:
    site = make_site(f"fedtrack[{extra}]")
    assert site.states() == {extra: "loaded"}
    packages = site.packages()
    assert {name for name in packages if name.startswith("fedtrack")} == {
        "fedtrack",
        "fedtrack-local",
        f"fedtrack-{extra}",
    }
    for name, sdk in SDKS.items():
        assert (sdk <= packages) == (name == extra)
    assert "torch" not in packages


def test_all_brings_every_receiver_and_uninstalling_takes_one_off_the_list(make_site: MakeSite) -> None:
    site = make_site("fedtrack[all]")
    assert site.states() == dict.fromkeys(FIRST_PARTY, "loaded")
    site.pip("uninstall", "fedtrack-mlflow")
    assert site.states() == {"tensorboard": "loaded", "wandb": "loaded"}
    assert set(site.listed("plugins")) == {"local", "tensorboard", "wandb"}
    assert "No receiver is called 'mlflow'" in site.fedtrack("receivers", "info", "mlflow", check=False)


@pytest.mark.parametrize("name", FIRST_PARTY)
def test_a_site_that_only_logs_needs_no_sdk(make_site: MakeSite, name: str) -> None:
    site = make_site(f"fedtrack-{name}")
    assert not SDKS[name] & site.packages()
    assert ("numpy" in site.packages()) == (name == "tensorboard")  # whose writer takes images and histograms
    assert site.listed("writers")[name]["state"] == "loaded"
    row = site.listed("receivers")[name]
    assert row["state"] == "missing-dependency"
    assert row["remedy"] == f"uv pip install --python {site.python} 'fedtrack[{name}]'"
    assert row["remedy"] in site.fedtrack("receivers", "check", name, check=False)
    site.install(f"fedtrack[{name}]")  # the remedy
    assert site.states() == {name: "loaded"}


JOB = """
import sys
import numpy as np
from fedtrack.errors import report_errors
from fedtrack.job import FedAvgJob, ScriptRunner

if __name__ == "__main__":
    with report_errors():
        job = FedAvgJob({"w": np.zeros(2, np.float32)}, n_clients=1, num_rounds=1)
        job.to_clients(ScriptRunner("client.py", framework="numpy"))
        if sys.argv[1:]:
            from fedtrack_mlflow import MLflowReceiver
            job.to_server(MLflowReceiver())
        print(job.simulator_run("ws").receivers)
"""

CLIENT = """
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer
try:
    from fedtrack.client.tracking import MLflowWriter
except ImportError as error:
    log = Writer().record_metric if flare.init() is None else None
else:
    flare.init()
    log = MLflowWriter().log_metric

while flare.is_running():
    model = flare.receive()
    log("loss", 0.5, 1)
    flare.send(flare.FLModel(params=model.params, metrics={"accuracy": 0.5}))
"""


def write_job(site: Site) -> None:
    (site.folder / "job.py").write_text(JOB)
    (site.folder / "client.py").write_text(CLIENT)


def test_core_alone_says_what_it_needs_to_run_a_job(make_site: MakeSite) -> None:
    site = make_site("fedtrack")
    assert site.states() == {}
    assert not {"numpy", "safetensors", "ml-dtypes"} & site.packages()
    script = "from fedtrack.job import FedJob; job = FedJob('j'); job.simulator_run('ws', n_clients=1)"
    done = site.run("-c", f"from fedtrack.errors import report_errors\nwith report_errors(): {script}", check=False)
    assert done.returncode == 2
    assert f"pip install --python {site.python} 'fedtrack[local]'" in done.stderr


def test_the_engine_alone_runs_a_job_without_the_default_receiver(make_site: MakeSite) -> None:
    site = make_site("fedtrack[local]")
    assert site.states() == {}
    assert not set().union(*SDKS.values()) & site.packages()
    assert "No receiver is installed" in site.fedtrack("receivers", "list")
    write_job(site)
    done = site.run("job.py")
    assert "The job goes without the default TensorBoard receiver" in done.stderr
    assert f"pip install --python {site.python} 'fedtrack[tensorboard]'" in done.stderr
    summary = site.folder / "ws" / "server" / "simulate_job" / "run_summary.json"
    result = json.loads(summary.read_text())
    assert (result["status"], result["sites"]["site-1"]["journaled"]) == ("completed", 1)
    assert not result["receivers"]


def test_a_job_whose_receiver_lacks_its_sdk_fails_before_training(make_site: MakeSite) -> None:
    site = make_site("fedtrack-mlflow", "fedtrack[local]")
    write_job(site)
    assert site.run("job.py").returncode == 0  # MLflow's writer is all that it needs
    done = site.run("job.py", "mlflow", check=False)
    assert done.returncode == 2
    assert "missing-dependency" in done.stderr
    assert f"pip install --python {site.python} 'fedtrack[mlflow]'" in done.stderr


def test_uv_installs_an_extra_from_a_clone(make_site: MakeSite) -> None:
    site = make_site("./core[mlflow]", cwd=ROOT)
    assert site.states() == {"mlflow": "loaded"}


def test_a_third_partys_receiver_is_like_any_other(make_site: MakeSite) -> None:
    site = make_site("fedtrack[tensorboard]", "fedtrack-parquet[receiver]", "fedtrack-prometheus")
    assert site.states() == {"tensorboard": "loaded", "parquet": "loaded"}
    assert "ok" in site.fedtrack("receivers", "check", "parquet")
    assert site.listed("plugins")["prometheus"]["state"] == "loaded"
