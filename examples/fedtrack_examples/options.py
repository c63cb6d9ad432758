"""Options: the command line of the examples' ``job.py``; each option can also be written with ``_``, as in FLARE."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fedtrack.errors import FedtrackError
from fedtrack.private_folder import state_folder
from fedtrack_examples import datasets, partition

#: The default folder of workspaces and exported jobs, which only this user can read.
JOB_ROOT = state_folder() / "jobs"
WORKSPACE = JOB_ROOT / "workdir"

Clients = Annotated[int, typer.Option("--n-clients", "--n_clients", "-n", min=1, help="How many sites.")]
Rounds = Annotated[int, typer.Option("--num-rounds", "--num_rounds", "-r", min=1, help="How many rounds.")]
Workspace = Annotated[Path, typer.Option("--workspace", "-w", help="The folder for all files of the run.")]
ExportConfig = Annotated[
    bool, typer.Option("--export-config", "--export_config", "-e", help="Export the job; do not run it.")
]
JobRoot = Annotated[Path, typer.Option("--job-root", "--job_root", help="The folder for exported jobs.")]
ExternalProcess = Annotated[
    bool,
    typer.Option(
        "--launch-external-process",
        "--launch_external_process",
        help="Start a new Python process for each site, instead of forking one that has imported torch.",
    ),
]
Dataset = Annotated[datasets.Name, typer.Option("--dataset", help="The images to train on.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", "--data_dir", help="The folder of the images of cifar10 or imagefolder.")
]
Partition = Annotated[partition.Method, typer.Option("--partition", help="How the images are divided among the sites.")]
Alpha = Annotated[
    float, typer.Option("--alpha", min=0.001, help="For dirichlet: the smaller it is, the more the sites differ.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same numbers.")]


def run(main: Callable[..., None]) -> None:
    """Run ``main`` with the options of the command line; a FedtrackError is shown without a traceback."""
    try:
        typer.run(main)
    except FedtrackError as error:
        details = getattr(error, "details", "")
        typer.echo(f"Error: {error}" + (f"\n{details}" if details else ""), err=True)
        raise SystemExit(error.exit_code) from None
