"""``fedtrack collect``: the server that takes the metrics of any federation, its tokens, and the end of its runs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fedtrack.cli.table import AsJson, show
from fedtrack.output import echo

if TYPE_CHECKING:
    from fedtrack.collector.settings import Settings
    from fedtrack.config_file import CollectTable
    from fedtrack.runs.kept_receivers import NamedReceiver


class _StartByDefault(TyperGroup):
    """``fedtrack collect FOLDER`` is short for ``fedtrack collect start FOLDER``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="collect",
    cls=_StartByDefault,
    help="Take the metrics of a federation that runs under another framework. "
    "`fedtrack collect FOLDER` is short for `fedtrack collect start FOLDER`.",
    no_args_is_help=True,
)
tokens_app = typer.Typer(name="tokens", help="The secrets by which sites are known.", no_args_is_help=True)
app.add_typer(tokens_app)

_PREFIX = "FEDTRACK_COLLECT_"
Config = Annotated[
    Path | None, typer.Option(help="A fedtrack.toml; without it, FEDTRACK_CONFIG or one in the current folder.")
]
Folder = Annotated[
    Path | None, typer.Option("--folder", envvar=f"{_PREFIX}FOLDER", help="The collector's folder.", metavar="FOLDER")
]


@app.command()
def start(
    folder: Annotated[
        Path | None, typer.Argument(envvar=f"{_PREFIX}FOLDER", help="The folder of its journals, tokens and log.")
    ] = None,
    host: Annotated[str | None, typer.Option(envvar=f"{_PREFIX}HOST", help="The address to bind. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(envvar=f"{_PREFIX}PORT", help="0 means any free one. [8443]")] = None,
    socket: Annotated[str | None, typer.Option(envvar=f"{_PREFIX}SOCKET", help="A Unix socket instead.")] = None,
    tls_cert: Annotated[
        str | None, typer.Option(envvar=f"{_PREFIX}TLS_CERT", help="PEM file with the certificate and its chain.")
    ] = None,
    tls_key: Annotated[str | None, typer.Option(envvar=f"{_PREFIX}TLS_KEY", help="PEM file with its key.")] = None,
    trusted_proxy: Annotated[
        str | None, typer.Option(envvar=f"{_PREFIX}TRUSTED_PROXY", help="The only address that may send requests.")
    ] = None,
    server_name: Annotated[
        str | None, typer.Option(envvar=f"{_PREFIX}SERVER_NAME", help="Its name behind a proxy or a tunnel.")
    ] = None,
    receiver: Annotated[
        list[str] | None, typer.Option(help="A receiver for every run; may be repeated. [tensorboard]")
    ] = None,
    args: Annotated[
        list[str] | None, typer.Option(help="The arguments of the receiver before it, as a JSON object.")
    ] = None,
    idle_minutes: Annotated[
        float | None, typer.Option(envvar=f"{_PREFIX}IDLE_MINUTES", help="A run ends after so much silence. [60]")
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(envvar=f"{_PREFIX}KEEP_DAYS", help="Remove ended, delivered runs after so many days."),
    ] = None,
    max_bytes: Annotated[
        int | None, typer.Option(envvar=f"{_PREFIX}MAX_BYTES", help="Take nothing more when so many bytes are stored.")
    ] = None,
    events_per_second: Annotated[
        float | None, typer.Option(envvar=f"{_PREFIX}EVENTS_PER_SECOND", help="Records a site may send. [100000]")
    ] = None,
    bytes_per_second: Annotated[
        float | None, typer.Option(envvar=f"{_PREFIX}BYTES_PER_SECOND", help="Bytes a site may send. [67108864]")
    ] = None,
    config: Config = None,
) -> None:
    """Take metrics until Ctrl-C or SIGTERM; sites keep what they log while no collector runs."""
    from fedtrack.config_file import read_config

    table = read_config(config).collect
    options = {
        "folder": folder and str(folder),
        "host": host,
        "port": port,
        "socket": socket,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "trusted_proxy": trusted_proxy,
        "server_name": server_name,
        "idle_minutes": idle_minutes,
        "keep_days": keep_days,
        "max_bytes": max_bytes,
        "events_per_second": events_per_second,
        "bytes_per_second": bytes_per_second,
    }
    _serve(_settings(options, table, receiver or [], args or []))


def _settings(options: dict[str, Any], table: CollectTable, receivers: list[str], args: list[str]) -> Settings:
    """Return the settings: an option or its environment variable, else the file's, else the default."""
    from fedtrack.collector.settings import Settings

    found = {name: getattr(table, name) if value is None else value for name, value in options.items()}
    found = {name: value for name, value in found.items() if value is not None}
    found["folder"] = _folder_of(found.get("folder"))
    for name in ("tls_cert", "tls_key"):
        if name in found:
            found[name] = Path(found[name])
    return Settings(receivers=_receivers(table, receivers, args), **found)


def _receivers(table: CollectTable, names: list[str], args: list[str]) -> dict[str, NamedReceiver]:
    from fedtrack.cli.arguments import written_arguments
    from fedtrack.errors import ConfigError
    from fedtrack.job.references import refuse_secrets
    from fedtrack.plugins import registry
    from fedtrack.runs.kept_receivers import NamedReceiver

    if not names and not args and table.receivers is not None:
        for one in table.receivers:
            refuse_secrets(one.args, f"collect.receivers: {one.name}")
        return {one.name: NamedReceiver(one.name, one.args) for one in table.receivers}
    if len(args) > len(names):
        raise ConfigError(f"--args is given {len(args)} times and --receiver {len(names)} times; each follows its own.")
    if len(set(names)) < len(names):
        raise ConfigError("--receiver names one receiver twice; name each once.")
    if not names:
        return {"tensorboard": NamedReceiver("tensorboard")} if "tensorboard" in registry().receivers else {}
    written = [written_arguments(text) for text in args]
    padded = [*written, *({} for _ in names[len(written) :])]
    return {name: NamedReceiver(name, one) for name, one in zip(names, padded, strict=True)}


def _serve(settings: Settings) -> None:
    from fedtrack.errors import PluginError
    from fedtrack.plugins.remedy import install

    try:
        from fedtrack.collector.server import CollectorServer, log_to
    except ImportError as error:
        raise PluginError(
            f"`fedtrack collect` needs {error.name}, which is not installed; install it with: "
            f"{install('fedtrack[collect]')}"
        ) from None
    server = CollectorServer(settings)
    log_to(settings.folder)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

    def ready() -> None:
        names = ", ".join(settings.receivers) or "no receiver: journals only"
        echo(f"Collecting at {server.url} into {settings.folder} ({names}). Ctrl-C ends it in order.")
        if not (settings.folder / "tokens.json").exists():
            echo(f"No site has a token yet: fedtrack collect tokens add SITE --folder {settings.folder}")

    server.run(ready)


def _folder_of(given: Any) -> Path:
    from fedtrack.errors import ConfigError

    if not given:
        raise ConfigError(
            f"No folder is given; name the collector's folder, set {_PREFIX}FOLDER, or write it into fedtrack.toml."
        )
    return Path(given).absolute()


@app.command()
def end(
    run: Annotated[str, typer.Argument(help="The run's name.")], folder: Folder = None, config: Config = None
) -> None:
    """End a run: its receivers get the rest and are closed. Records that come later are still taken."""
    from fedtrack.collector.ending import read_ending, write_ending
    from fedtrack.config_file import read_config
    from fedtrack.connection.names import checked_run
    from fedtrack.connection.run_folder import RunFolder
    from fedtrack.errors import ConfigError

    place = _folder_of(folder or read_config(config).collect.folder)
    found = RunFolder(place, checked_run(run))
    if found.record is None:
        raise ConfigError(f"{str(place)!r} has no run {run!r}; `fedtrack runs list {place}` shows all.")
    ending = read_ending(found)
    if ending.ended is not None:
        echo(f"{run} has ended before; nothing is changed.")
        return
    ending.asked = True
    write_ending(found, ending)
    echo(f"{run} ends as soon as its sites are quiet for 2 s; `fedtrack runs show {found.base}` shows it.")


@tokens_app.command("add")
def add_token(
    site: Annotated[str, typer.Argument(help="The site's name, or a pattern such as 'hospital-*'.")],
    folder: Folder = None,
    runs: Annotated[str, typer.Option(help="A pattern of the runs that it may write.")] = "*",
    days: Annotated[float | None, typer.Option(help="After how many days it expires; without it, never.")] = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="It may read /metrics, and write nothing.")] = False,
    config: Config = None,
) -> None:
    """Make a token and show it, once: only its hash is stored."""
    from fedtrack.collector.tokens import Tokens

    place = _tokens_folder(folder, config)
    token = Tokens(place).add(site, runs=runs, days=days, reads=metrics)
    echo(token)
    echo(f"It is not shown again. Give it to {site} as FEDTRACK_TOKEN.", err=True)


@tokens_app.command("list")
def list_tokens(folder: Folder = None, as_json: AsJson = False, config: Config = None) -> None:
    """List the tokens, without their secrets."""
    from time import time

    from fedtrack.collector.tokens import Tokens

    now = time()
    rows = [
        {
            "id": one.id,
            "site": one.site,
            "runs": "reads /metrics" if one.reads else one.runs,
            "state": one.state(now),
            "created": _day(one.created),
            "expires": "never" if one.expires is None else _day(one.expires),
        }
        for one in Tokens(_existing(_tokens_folder(folder, config))).all()
    ]
    show(rows, ("id", "site", "runs", "state", "created", "expires"), as_json=as_json)


@tokens_app.command("revoke")
def revoke_token(
    site: Annotated[str, typer.Argument(help="The site, or the id of one token.")],
    folder: Folder = None,
    config: Config = None,
) -> None:
    """Revoke the tokens of a site, or one token by its id. A collector that runs refuses them from then on."""
    from fedtrack.collector.tokens import Tokens

    for one in Tokens(_existing(_tokens_folder(folder, config))).revoke(site):
        echo(f"revoked {one.id} of {one.site}")


def _tokens_folder(folder: Path | None, config: Path | None) -> Path:
    from fedtrack.config_file import read_config

    return _folder_of(folder or read_config(config).collect.folder)


def _existing(folder: Path) -> Path:
    """Return a folder that is there: with a name that is misspelt no token would be listed, and none revoked."""
    from fedtrack.errors import ConfigError

    if not folder.is_dir():
        raise ConfigError(
            f"There is no collector's folder {str(folder)!r}; name the FOLDER of `fedtrack collect FOLDER`."
        )
    return folder


def _day(seconds: float) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M")
