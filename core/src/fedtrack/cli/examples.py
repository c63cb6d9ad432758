"""``fedtrack examples``: list, run and copy the installed examples."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedtrack.cli.table import AsJson, show
from fedtrack.output import echo, keep_output

app = typer.Typer(name="examples", help="Runnable examples.", no_args_is_help=True)


@app.command("list")
def list_examples(as_json: AsJson = False) -> None:
    """List every example."""
    from fedtrack.plugins import registry

    found = registry()
    rows = [
        {
            "name": name,
            "summary": example.summary,
            "package": found.owner("example", name).package,
            "folder": str(example.folder),
        }
        for name, example in sorted(found.examples.items())
    ]
    show(rows, ("name", "package", "summary"), as_json=as_json)
    if not rows and not as_json:
        from fedtrack.plugins import remedy

        echo(f"No example is installed; try: {remedy.install('fedtrack-examples')}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The example's name.")],
) -> None:
    """Run an example; arguments after ``--`` are passed to its job.py."""
    keep_output()
    from fedtrack.plugins import registry

    job = registry().example(name).folder / "job.py"
    # A new program, as if the user had run job.py: the example decides about its imports.
    os.execv(sys.executable, [sys.executable, str(job), *context.args])  # noqa: S606


@app.command()
def copy(
    name: Annotated[str, typer.Argument(help="The example's name.")],
    folder: Annotated[
        Path | None,
        typer.Argument(help="The new folder, which must not exist or must be empty; by default the example's name."),
    ] = None,
) -> None:
    """Copy an example, as the start of your own project."""
    keep_output()
    from fedtrack.errors import ConfigError
    from fedtrack.plugins import registry

    source = registry().example(name).folder
    folder = folder or Path(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists and is not an empty folder; choose another one.")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    echo(f"Copied to {folder}; run it with: python {folder / 'job.py'}")


@app.command("prepare-data")
def prepare_data(
    dataset: Annotated[str, typer.Argument(help="A data set that examples use, such as cifar10.")],
    data_dir: Annotated[Path | None, typer.Option(help="The folder for it.")] = None,
) -> None:
    """Download a data set once, before several sites need it at the same time."""
    keep_output()
    command = [sys.executable, "-P", "-m", "fedtrack_examples.prepare", dataset]
    if data_dir is not None:
        command += ["--data-dir", str(data_dir)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
