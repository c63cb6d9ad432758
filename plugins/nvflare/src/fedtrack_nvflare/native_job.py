"""Native job: the FLARE part of a job is written with FLARE's own Job API, in a process of its own.

FLARE's executors change their names and arguments between versions, and FLARE's ``ScriptRunner`` knows them. It
searches files in the working folder, so this is a program and not a function.
"""

from __future__ import annotations

import sys

import msgspec


class NativeJob(msgspec.Struct, forbid_unknown_fields=True):
    """The part of a job that FLARE needs.

    Attributes:
        name: The job's name in FLARE.
        num_clients: The number of sites that take part in a round.
        num_rounds: The number of rounds.
        start_round: Number of the first round.
        min_clients: FLARE does not start the job with fewer sites.
        mandatory_clients: FLARE does not start the job without these sites.
        script: The script, a file in the working folder.
        external: Whether the script runs in a process of its own.
        command: The command that starts that process.
        framework: ``pytorch`` or ``numpy``.
    """

    name: str
    num_clients: int
    num_rounds: int
    start_round: int
    min_clients: int
    mandatory_clients: list[str]
    script: str
    external: bool
    command: str
    framework: str


def write(spec: NativeJob, root: str) -> None:
    """Export the job to ``<root>/<name>``."""
    from nvflare.app_common.workflows.fedavg import FedAvg
    from nvflare.fuel.utils.constants import FrameworkType
    from nvflare.job_config.api import FedJob
    from nvflare.job_config.script_runner import ScriptRunner

    job = FedJob(name=spec.name, min_clients=spec.min_clients, mandatory_clients=spec.mandatory_clients or None)
    controller = FedAvg(
        num_clients=spec.num_clients,
        num_rounds=spec.num_rounds,
        start_round=spec.start_round,
        persistor_id="collector",
        allow_empty_global_weights=True,
    )
    job.to_server(controller)
    runner = ScriptRunner(
        spec.script,
        launch_external_process=spec.external,
        command=spec.command,
        framework=FrameworkType.PYTORCH if spec.framework == "pytorch" else FrameworkType.NUMPY,
        # An external script may log until its exit handlers have run, so FLARE must wait for its end.
        **({"shutdown_timeout": 30.0} if spec.external else {}),
    )
    job.to_clients(runner)
    job.export_job(root)


if __name__ == "__main__":
    write(msgspec.json.decode(sys.argv[1], type=NativeJob), sys.argv[2])
