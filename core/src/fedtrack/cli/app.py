"""App: the command line, assembled from core's command groups and those of plugins."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from fedtrack.cli import (
    agent,
    collect,
    doctor,
    engines,
    examples,
    job,
    migrate,
    plugins,
    policy,
    receivers,
    resume,
    run,
    runs,
    submit,
    workflows,
    writers,
)
from fedtrack.output import echo

_FORMAT = "%(levelname)s %(name)s: %(message)s"


def build_app() -> typer.Typer:
    """Return the command line with every command."""
    app = typer.Typer(
        name="fedtrack",
        help="Federated experiment tracking as plugins.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    app.command("run")(run.run)
    app.command("resume")(resume.resume)
    app.command("submit")(submit.submit)
    app.command("migrate")(migrate.migrate)
    app.command("agent")(agent.agent)
    app.command("doctor")(doctor.doctor)
    for group in (receivers, writers, workflows, engines, plugins, examples, job, runs, collect, policy):
        app.add_typer(group.app)
    from fedtrack.plugins import registry

    registry().notify("fedtrack_cli", app=app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        echo(f"fedtrack {version('fedtrack')}")
        from fedtrack.cli.log_calls import log_calls

        echo(f"log calls: {': '.join(filter(None, log_calls()))}")
        raise typer.Exit


def _options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what happens inside.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    level = logging.INFO if verbose else logging.WARNING
    from fedtrack.failure import TracebackFormatter, VisibleFormatter

    logging.basicConfig(level=level, format=_FORMAT)
    for handler in logging.getLogger().handlers:
        handler.setFormatter((TracebackFormatter if verbose else VisibleFormatter)(_FORMAT))
