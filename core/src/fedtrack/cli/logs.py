"""``fedtrack runs logs``: what the processes of a server or of a site have written into their logs."""

from __future__ import annotations

from collections.abc import Iterable
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from fedtrack.cli.stored_runs import Run
from fedtrack.output import echo

if TYPE_CHECKING:
    from fedtrack.runs.node_logs import FollowedLog
    from fedtrack.runs.stored_run import StoredRun

_POLL_SECONDS = 0.2

#: Without a name: its commands are those of ``fedtrack runs``.
app = typer.Typer()


@app.command()
def logs(
    run: Run,
    site: Annotated[str, typer.Option("--site", "-s", help="A site; without it, the server.")] = "server",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new lines until the run is over.")] = False,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="The most lines of each file.")] = None,
) -> None:
    """Print the log of a site or of the server, of a run that goes on or is over.

    Characters that would control the terminal are shown as escapes. The logs of sites on other machines are there.
    """
    from fedtrack.errors import ConfigError
    from fedtrack.runs.live_run import server_of
    from fedtrack.runs.stored_run import find_run

    stored = find_run(run)
    page = _Page(stored, site, lines)
    while True:
        live = server_of(stored.folder) is not None  # asked first: what is written until the end is then printed
        page.print_new(live=live)
        if not (follow and live):
            break
        sleep(_POLL_SECONDS)
    if not page.logs:
        raise ConfigError(
            f"The run in {str(stored.base)!r} has no log of {site!r} here; it may be on that site's machine."
        )


class _Page:
    """Prints each line of the log files once, with the file's name where another one begins."""

    def __init__(self, run: StoredRun, site: str, most: int | None) -> None:
        self._run = run
        self._site = site
        self._most = most
        self._shown: FollowedLog | None = None
        self.logs: dict[str, FollowedLog] = {}

    def print_new(self, *, live: bool) -> None:
        from fedtrack.runs.node_logs import FollowedLog, last_lines, log_files

        for path in log_files(self._run, self._site):
            log = self.logs.get(str(path))
            if log is None:  # a process may have begun to write one since
                log = self.logs[str(path)] = FollowedLog(path)
                self._print(log, last_lines(log, self._most, ended=not live))
        for log in self.logs.values():
            self._print(log, log.new_lines(ended=not live))

    def _print(self, log: FollowedLog, lines: Iterable[str]) -> None:
        for line in lines:
            if log is not self._shown:
                echo(f"==> {log.path} <==")
                self._shown = log
            echo(line)
