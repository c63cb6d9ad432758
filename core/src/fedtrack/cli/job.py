"""``fedtrack job``: look at exported jobs."""

from __future__ import annotations

from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedtrack.output import echo

if TYPE_CHECKING:
    from fedtrack.job.meta import Meta

app = typer.Typer(name="job", help="Exported jobs.", no_args_is_help=True)


@app.command()
def show(folder: Annotated[Path, typer.Argument(help="An exported job.")]) -> None:
    """Check a job and print what runs where."""
    from fedtrack.job.config import META_FILE, Meta, read_json
    from fedtrack.job.job_tree import check_tree
    from fedtrack.job.load import load_job
    from fedtrack.job.named_sites import with_sites

    check_tree(folder)
    meta = read_json(folder / META_FILE, Meta) if folder.is_dir() else None
    for_all = meta is not None and meta.is_for_all_sites
    with with_sites(folder, _example_sites(meta) if meta is not None and for_all else None) as named:
        job = load_job(named)
    if for_all:
        echo("For all sites; they are named when the job is run. As an example:")
    echo(f"{job.meta.name}: {len(job.sites)} sites, min_clients {job.meta.min_clients or len(job.sites)}")
    echo("server")
    for id_, workflow in job.workflows.items():
        echo(f"  workflow  {id_}: {_show(workflow)}")
    for part in (job.selector, job.results_json):
        if part is not None:
            echo(f"  component {_show(part)}")
    for id_, receiver in job.receivers.items():
        echo(f"  receiver  {id_}: {receiver.name} {_options(receiver.options)}")
    if job.client_app is not None:
        first = job.sites[0]
        echo(f"{len(job.sites)} sites, in processes that they share: {first.name} to {job.sites[-1].name}")
        echo(f"  functions {_show(job.client_app)}")
        echo(f"  events    {'cross to the server' if first.streams_to_server else 'stay in the spools'}")
        return
    for site in job.sites:
        echo(site.name)
        echo(f"  script    {site.script.name} {' '.join(site.script_args)}".rstrip())
        echo(f"  events    {'cross to the server' if site.streams_to_server else 'stay at the site'}")
        for id_, receiver in site.receivers.items():
            echo(f"  receiver  {id_}: {receiver.name} {_options(receiver.options)}")


def _example_sites(meta: Meta) -> list[str]:
    """Return names for a job that is for all sites: those that it needs, and as many as it needs."""
    numbered = (f"site-{number}" for number in count(1))
    others = (name for name in numbered if name not in meta.mandatory_clients)
    missing = max(1, meta.min_clients or 1) - len(meta.mandatory_clients)
    return [*meta.mandatory_clients, *islice(others, max(0, missing))]


@app.command()
def schema(
    file: Annotated[
        str | None, typer.Argument(help="A file of a job, such as meta.json; all by default.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of job files, with the receivers and workflows of the installed plugins."""
    import msgspec

    from fedtrack.errors import ConfigError
    from fedtrack.job.schema import job_schema

    schemas = job_schema()
    if file is not None and file not in schemas:
        raise ConfigError(f"{file!r} is no file of a job; valid are {', '.join(schemas)}.")
    found = schemas if file is None else schemas[file]
    echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())


def _show(struct: Any) -> str:
    return f"{type(struct).__name__} {_options(struct)}".rstrip()


def _options(struct: Any) -> str:
    import msgspec

    changed = {
        field.name: getattr(struct, field.name)
        for field in msgspec.structs.fields(struct)
        if getattr(struct, field.name)
        != (field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory())
    }
    return " ".join(f"{key}={value!r}" for key, value in changed.items())
