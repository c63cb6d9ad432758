"""``fedtrack doctor``: the surroundings of fedtrack on this machine, and what to do about each trouble."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import typer

from fedtrack.cli.table import AsJson
from fedtrack.cli.table import show as show_rows
from fedtrack.output import echo

if TYPE_CHECKING:
    from fedtrack.cli.diagnosis.finding import Finding


def doctor(as_json: AsJson = False) -> None:
    """Look at Python, packages, plugins, GPUs, disks, clock and backends; exit code 1 if something needs action.

    Backends are asked with the settings of the environment, such as MLFLOW_TRACKING_URI, WANDB_API_KEY and
    FEDTRACK_URL. Credentials are sent there, and are never printed.
    """
    with redirect_stdout(sys.stderr):  # what plugins print must not get into that of --json
        found = _diagnose()
    if as_json:
        show_rows([one._asdict() for one in found], (), as_json=True)
    else:
        _print(found)
    if any(one.level == "action" for one in found):
        raise typer.Exit(1)


def _diagnose() -> list[Finding]:
    from fedtrack.cli.diagnosis.backends import backends
    from fedtrack.cli.diagnosis.machine import machine
    from fedtrack.cli.diagnosis.software import software

    return [*software(), *machine(), *backends()]


def _print(found: list[Finding]) -> None:
    width = max(len(one.name) for one in found)
    for one in found:
        echo(f"{one.level.value:<6}  {one.name:<{width}}  {' '.join(one.found.split())}")
        if one.remedy:
            echo(f"{'':<6}  {'':<{width}}  to do: {one.remedy}")
    count = sum(one.level == "action" for one in found)
    things = "1 thing needs" if count == 1 else f"{count} things need"
    echo(f"{things} action." if count else "Nothing needs action.")
