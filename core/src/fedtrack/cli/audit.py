"""``fedtrack runs bundle|audit``: a run in one file, and what that file proves."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedtrack.cli.stored_runs import Run
from fedtrack.cli.table import AsJson
from fedtrack.output import echo

if TYPE_CHECKING:
    from fedtrack.runs.audit import Audit

#: Without a name: its commands are those of ``fedtrack runs``.
app = typer.Typer()


@app.command()
def bundle(
    run: Run,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file. [RUN-ID.fedtrack.zip]")] = None,
) -> None:
    """Write a run into one file that can be audited elsewhere: records, release logs, hashes of the models."""
    from fedtrack.runs.bundle import bundle as write
    from fedtrack.runs.stored_run import find_run

    stored = find_run(run)
    target = Path(f"{stored.record.run_id if stored.record else 'run'}.fedtrack.zip") if output is None else output
    found = write(stored, target)
    echo(f"{len(found.files):,} files in {target.absolute()}")
    if found.pruned:
        echo(f"{found.pruned:,} events are missing: `fedtrack runs prune` deleted them from the journal.", err=True)


@app.command()
def audit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A bundle.")],
    key: Annotated[
        list[str] | None, typer.Option(help="SITE=HEX: the public key that a site, or the server, is known to have.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle without the run: exit code 1 if a record was changed, is missing, or is not signed."""
    from fedtrack.errors import ConfigError
    from fedtrack.runs.audit import audit as check

    keys = {}
    for item in key or []:
        site, equals, value = item.partition("=")
        if not equals or len(value) != 64:
            raise ConfigError(f"--key is {item!r}; give SITE=HEX, with the 64 hex digits of a public key.")
        keys[site] = value
    found = check(file, keys)
    if as_json:
        echo(json.dumps(asdict(found) | {"passed": found.passed}))
    else:
        _print(found)
    if not found.passed:
        raise typer.Exit(1)


def _print(found: Audit) -> None:
    echo(f"run {found.run_id}")
    echo(f"server: {'signed by ed25519:' + found.server_key if found.server_key else 'not signed'}")
    for fault in found.faults:
        echo(f"  FAULT: {fault}")
    for site in found.sites:
        terms = "; ".join(dict.fromkeys(policy or "no policy" for policy in site.policies)) or "no release log"
        keys = ", ".join(f"ed25519:{key}" for key in site.keys) or "not signed"
        echo(f"{site.site}: {site.records:,} records, {site.sealed:,} of them as the site has let them out; {terms}")
        echo(f"  {keys}" + (f"; {site.refused:,} records were refused by its agent" if site.refused else ""))
        for fault in site.faults:
            echo(f"  FAULT: {fault}")
    echo("passed" if found.passed else "failed")
