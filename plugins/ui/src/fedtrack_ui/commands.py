"""The commands ``fedtrack ui`` and ``fedtrack report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedtrack.errors import ConfigError


def ui(
    folder: Annotated[
        str, typer.Argument(help="A workspace, a collector's folder, or a folder with workspaces.", metavar="FOLDER")
    ] = ".",
    host: Annotated[str, typer.Option(help="The address to bind; beyond this machine a token is made.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="0 means any free one. [8765, or any free one]")] = None,
    token: Annotated[
        str, typer.Option(envvar="FEDTRACK_UI_TOKEN", help="The token, if it should not be a new one.", hidden=True)
    ] = "",
    open_: Annotated[
        list[str] | None, typer.Option("--open", help="Also start 'mlflow' or 'tensorboard' for the newest run.")
    ] = None,
) -> None:
    """Show runs in a page of this machine, live, until Ctrl-C."""
    from fedtrack_ui.places import runs_below
    from fedtrack_ui.serve import PageServer
    from fedtrack_ui.trackers import started_trackers

    place = _folder(folder)
    found = runs_below(place)
    with started_trackers(open_ or [], list(found.values())) as trackers:
        server = PageServer(place, host, port, token)

        def ready() -> None:
            for name, address in trackers.items():
                typer.echo(f"{name}: {address}")
            runs = f"{len(found):,} run{'' if len(found) == 1 else 's'}"
            typer.echo(f"The page over {runs} in {place}: {server.url}\nCtrl-C ends it.")

        server.run(ready)


def report(
    runs: Annotated[list[Path], typer.Argument(help="A run, or two to compare: workspaces or folders runs/<number>.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("run.html"),
    png: Annotated[
        Path | None, typer.Option(help="Also draw the curves as PNG files into this folder; needs matplotlib.")
    ] = None,
) -> None:
    """Write the page of a run into one file that needs no network; of two runs, with their comparison."""
    from fedtrack_ui.report import write_report

    if len(runs) > 2:
        raise ConfigError(f"{len(runs)} runs are given; a report has one, or compares two.")
    size = write_report(runs, output)
    typer.echo(f"{output}: {size / 1e6:.1f} MB, for any browser.")
    if png is not None:
        from fedtrack.runs import find_run
        from fedtrack_ui.figures import write_figures

        for path in write_figures([find_run(run) for run in runs], png):
            typer.echo(str(path))


def _folder(given: str) -> Path:
    if "://" in given:
        raise ConfigError(
            f"{given!r} is an address; the page reads journals, so run `fedtrack ui FOLDER` on the machine with the "
            "collector's folder, and reach it with `ssh -L 8765:127.0.0.1:8765 HOST`."
        )
    return Path(given).absolute()
