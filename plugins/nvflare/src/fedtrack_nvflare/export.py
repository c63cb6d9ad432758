"""Export: a fedtrack job is converted to a FLARE job with one app for every node and exactly two components of ours.

Since 2.8 a FLARE server builds only classes that its administrator has listed, unless the app has code of its own. With
one app for all nodes the server's part also has a ``custom`` folder, so the job's right to bring code (byoc) covers
everything. With an app per node the server refuses the job after it was accepted.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from fedtrack import FedAvg
from fedtrack.errors import EngineUnavailable, JobRejected
from fedtrack.job import ALIASES, CLIENT_FILE, COMPONENTS, WEIGHTED, ClientConfig, LoadedJob, load_job, read_json
from fedtrack_nvflare.native_job import NativeJob
from fedtrack_nvflare.node import JOB
from fedtrack_nvflare.script import MAIN, MAIN_FILE

COLLECTOR = "fedtrack_nvflare.collector.Collector"
SHIPPER = "fedtrack_nvflare.shipper.Shipper"
FEDAVG = "nvflare.app_common.workflows.fedavg.FedAvg"

SERVER_CONFIG, CLIENT_CONFIG = "config_fed_server.json", "config_fed_client.json"
_READINESS = "end_run_readiness_timeout"
_CONTROLLER = {"persistor_id": "collector", "allow_empty_global_weights": True}

#: Seconds that FLARE's server keeps a run open for the last events of slow or silent sites.
END_SECONDS = 90.0


def export(folder: Path, target: Path, run_id: str) -> Path:
    """Write the FLARE job of the fedtrack job in ``folder`` to ``<target>/<name>.<run id>`` and return that folder.

    Raises:
        ConfigError: The job is not valid.
        JobRejected: FLARE cannot run it; see ``job_problems``.
        EngineUnavailable: FLARE is not installed, or failed.
    """
    job = load_job(folder, node="")
    if problems := job_problems(job):
        raise JobRejected(problems)
    flow = next(iter(job.workflows.values()))
    assert isinstance(flow, FedAvg)  # noqa: S101 - job_problems has said so
    runner = job.sites[0].runner
    spec = NativeJob(
        name=flare_name(job.meta.name, run_id),
        num_clients=flow.clients_per_round(len(job.sites)),
        num_rounds=flow.num_rounds,
        start_round=flow.start_round,
        min_clients=job.meta.min_clients or len(job.sites),
        mandatory_clients=list(job.meta.mandatory_clients),
        script=MAIN_FILE,
        external=runner.launch_external_process,
        command=runner.command,
        framework=runner.framework,
    )
    written = _write(spec, target, {"run_id": run_id}, None if are_alike(job) else [site.name for site in job.sites])
    shutil.copytree(folder, written / "app" / "custom" / JOB, ignore=shutil.ignore_patterns("__pycache__"))
    return written


def export_drain(name: str, target: Path, run_id: str, number: int, sites: int) -> Path:
    """Write a FLARE job that only collects the remaining events of the run called ``name`` from the connected sites.

    Its only round asks every site once; the shipper answers when it has sent everything. A job without a round would
    end before its sites have started.
    """
    job = drain_name(name, number)
    folder = target / job
    (folder / "app" / "config").mkdir(parents=True)
    (folder / "app" / "custom").mkdir()
    (folder / "app" / "custom" / "README").write_text("This app trains nothing; it collects the remaining events.\n")
    flow = {"id": "controller", "path": FEDAVG, "args": {"num_clients": sites, "num_rounds": 1, **_CONTROLLER}}
    collector = {"id": "collector", "path": COLLECTOR, "args": {"run_id": run_id, "drain": True}}
    server = {"format_version": 2, "workflows": [flow], "components": [collector], _READINESS: END_SECONDS}
    _write_json(folder / "app" / "config" / SERVER_CONFIG, server)
    args = {"run_id": run_id, "drain": True}
    # FLARE needs an executor at each site, so here the shipper is one.
    shipper = {"tasks": ["*"], "executor": {"path": SHIPPER, "args": args}}
    client = {"format_version": 2, "executors": [shipper], "components": []}
    _write_json(folder / "app" / "config" / CLIENT_CONFIG, client)
    meta = {"name": job, "resource_spec": {}, "min_clients": 1, "deploy_map": {"app": ["@ALL"]}}
    _write_json(folder / "meta.json", meta)
    return folder


def flare_name(name: str, run_id: str) -> str:
    """Return the job's name in FLARE, with the run id, by which a submission is found again."""
    return f"{name}.{run_id}"


def drain_name(name: str, number: int) -> str:
    """Return the name of a run's drain; ``name`` is the run's name in FLARE."""
    return f"{name}.drain{number}"


def are_alike(job: LoadedJob) -> bool:
    """Return whether every site does the same, so that the job runs at sites of any name."""
    first = job.sites[0]
    return all(
        site.runner == first.runner
        and site.streams_to_server == first.streams_to_server
        and _content(site.custom) == _content(first.custom)
        for site in job.sites
    )


def job_problems(job: LoadedJob) -> list[str]:
    """Return why FLARE cannot run ``job`` as it is."""
    found = []
    flows = list(job.workflows.values())
    if len(flows) != 1 or not isinstance(flows[0], FedAvg):
        names = ", ".join(type(flow).__name__ for flow in flows)
        found.append(f"Its workflows are {names}; on FLARE a job has one FedAvg.")
    found += [
        f"Its FedAvg uses the aggregator {flow.aggregator!r}; on FLARE there is {WEIGHTED!r} only, use that."
        for flow in flows
        if isinstance(flow, FedAvg) and flow.aggregator != WEIGHTED
    ]
    found += [
        f"Its FedAvg has {name}={getattr(flow, name)}; on FLARE there is no such cap, leave it out."
        for flow in flows
        if isinstance(flow, FedAvg)
        for name in ("max_weight", "max_norm")
        if getattr(flow, name)
    ]
    if job.client_app is not None:
        found.append(
            "It runs a ClientApp's functions (ClientAppRunner); on FLARE every site runs a script: place "
            'ScriptRunner("client.py") instead, the script\'s app.run() makes it work.'
        )
    first = job.sites[0].runner
    for site in job.sites[1:]:
        if (site.runner.launch_external_process, site.runner.framework, site.runner.command) != (
            first.launch_external_process,
            first.framework,
            first.command,
        ):
            found.append(
                f"{site.name} starts its script differently from {job.sites[0].name}; on FLARE all sites share one "
                "app, give them the same framework, command and launch_external_process."
            )
    for site in job.sites:
        config = read_json(site.custom.parent / CLIENT_FILE, ClientConfig)
        hosted = [item.id for item in config.components if ALIASES.get(item.path, item.path) not in COMPONENTS]
        if hosted:
            found.append(f"{site.name} hosts the receiver {hosted[0]!r}; on FLARE receivers run on the server only.")
    return found


def job_notes(job: LoadedJob) -> list[str]:
    """Return the job's settings that FLARE ignores, although it can run the job."""
    found = []
    for flow in job.workflows.values():
        if isinstance(flow, FedAvg) and flow.evaluate_final_model:
            found.append("evaluate_final_model: FLARE's FedAvg does not ask for the metrics of the last model.")
        if isinstance(flow, FedAvg) and flow.task_timeout:
            found.append("task_timeout: FLARE's FedAvg waits for a site as long as it lives.")
        if isinstance(flow, FedAvg) and isinstance(flow.params, list):
            found.append("params: FLARE's FedAvg averages the tensors that come, and needs none of them.")
        if isinstance(flow, FedAvg) and flow.seed:
            found.append("seed: FLARE's FedAvg chooses the sites of a round without one.")
    return found


def _write(spec: NativeJob, target: Path, args: dict[str, Any], sites: list[str] | None) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / MAIN_FILE).write_text(MAIN)
        command = [sys.executable, "-P", "-m", "fedtrack_nvflare.native_job", msgspec.json.encode(spec).decode()]
        done = subprocess.run(
            [*command, str(target.absolute())], cwd=scratch, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise EngineUnavailable(f"FLARE's Job API failed: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    folder = target / spec.name
    app = folder / "app"
    _add_components(app / "config", args)
    if sites is not None:
        meta = json.loads((folder / "meta.json").read_text())
        meta["deploy_map"] = {"app": ["server", *sites]}
        _write_json(folder / "meta.json", meta)
    return folder


def _add_components(config: Path, args: dict[str, Any]) -> None:
    for name, id_, path in ((SERVER_CONFIG, "collector", COLLECTOR), (CLIENT_CONFIG, "shipper", SHIPPER)):
        content = json.loads((config / name).read_text())
        content["components"].append({"id": id_, "path": path, "args": args})
        if id_ == "collector":
            content[_READINESS] = END_SECONDS
        _write_json(config / name, content)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=4) + "\n")


def _content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
