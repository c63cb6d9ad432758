"""Address: the place of the receiver's MLflow store, in the run's folder, in another file, or behind a server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from fedtrack import Results
from fedtrack.errors import ConfigError
from fedtrack_mlflow import commands

#: Parameters of a database's URI that must never be printed.
_SECRET = re.compile(r"pass|secret|token|key", re.IGNORECASE)

_SCHEME = re.compile(r"\A([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SQLITE = re.compile(r"(?P<head>sqlite(?:\+\w+)?:///)(?P<path>[^?]+)(?P<query>\?.*)?\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """An MLflow store.

    Attributes:
        uri: The URI for MLflow's client; paths in it are absolute.
        artifacts: Location of a new experiment's artifacts; None lets MLflow decide.
        database: The file of a SQLite store, or None.
        files: The folder of a file store, or None.
    """

    uri: str
    artifacts: str | None
    database: Path | None = None
    files: Path | None = None

    @property
    def is_server(self) -> bool:
        """Whether an MLflow server keeps the store."""
        return self.uri.startswith(("http:", "https:"))

    @property
    def is_sql(self) -> bool:
        """Whether the store is a database that this process opens."""
        return not self.is_server and self.files is None

    @property
    def shown(self) -> str:
        """The URI without passwords. A user's name is kept, but not one that may be a token: one without a password."""
        parts = urlsplit(self.uri)
        user, at, host = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        if at:
            parts = parts._replace(netloc=f"{name}@{host}" if colon or not self.is_server else host)
        query = "&".join(part for part in parts.query.split("&") if not _SECRET.search(part.partition("=")[0]))
        shown = parts._replace(query=query)
        return self.uri if not at and query == parts.query else urlunsplit(shown)

    def results(self, experiment_id: str) -> Results:
        """Return where a person finds the experiment."""
        page = f"#/experiments/{experiment_id}/runs?workflowType=machine_learning"
        if self.is_server:
            return Results(f"{self.shown.rstrip('/')}/{page}")
        command = commands.user_interface(self.shown)
        if self.files is not None:
            return Results(str(self.files), f"MLFLOW_ALLOW_FILE_STORE=true {command}")
        return Results(self.shown if self.database is None else str(self.database), command)


def resolve(tracking_uri: str | None, artifact_location: str | None, folder: Path) -> Address:
    """Return the address of the store for a receiver's arguments and the folder of its run.

    Raises:
        ConfigError: The store of this URI would end with the process.
    """
    folder = folder.absolute()
    if tracking_uri is None:
        tracking_uri = f"sqlite:///{folder / 'mlflow.db'}"
    artifacts = None if artifact_location is None else _location(artifact_location, folder)
    if tracking_uri.startswith("sqlite"):
        return _sqlite(tracking_uri, artifacts)
    scheme = _SCHEME.match(tracking_uri)
    if scheme is None or scheme[1].lower() == "file":
        path = Path(unquote(urlsplit(tracking_uri).path) if scheme else tracking_uri).absolute()
        return Address(path.as_uri(), artifacts, files=path)
    if artifacts is None and scheme[1].lower() not in ("http", "https"):
        artifacts = (folder / "mlartifacts").as_uri()  # otherwise MLflow would use the working directory
    return Address(tracking_uri, artifacts)


def _sqlite(uri: str, artifacts: str | None) -> Address:
    match = _SQLITE.match(uri)
    if match is None or match["path"].startswith(":memory:"):
        raise ConfigError(
            f"MLflowReceiver: tracking_uri {uri!r} names no file; write sqlite:///relative/path.db or "
            "sqlite:////absolute/path.db, or leave tracking_uri out to use mlflow.db in the run's folder."
        )
    path = Path(match["path"]).absolute()
    absolute = f"{match['head']}{path}{match['query'] or ''}"
    return Address(absolute, artifacts or (path.parent / "mlartifacts").as_uri(), database=path)


def _location(location: str, folder: Path) -> str:
    if _SCHEME.match(location):
        return location
    return (folder / location).as_uri()
