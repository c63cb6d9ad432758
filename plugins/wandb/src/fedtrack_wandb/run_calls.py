"""RunCalls: the methods and attributes of W&B's ``Run`` besides ``log``."""

from __future__ import annotations

import contextlib
import glob as globbing
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from fedtrack import client
from fedtrack.errors import ConfigError
from fedtrack.tracking import MediaWriter, Refused, shorten
from fedtrack_wandb import data_types

log = logging.getLogger(__name__)

_ELSEWHERE = "a site cannot read from a W&B server"
_DIRECTIONS = {"maximize": "higher", "minimize": "lower"}
_RECEIVER = "the receiver of the job arranges the charts"


class RunCalls(MediaWriter):
    """What scripts call on a run besides ``log``; arguments have W&B's names and order.

    Properties that only a W&B server could know are empty.
    """

    AlertLevel = data_types.AlertLevel
    Artifact = data_types.Artifact
    Audio = data_types.Audio
    Histogram = data_types.Histogram
    Html = data_types.Html
    Image = data_types.Image
    Molecule = data_types.Molecule
    Object3D = data_types.Object3D
    Table = data_types.Table
    Video = data_types.Video

    def __init__(self, record_log: Any = None) -> None:
        super().__init__(record_log)
        self.plot = data_types.Plots()
        self.id, self._site = _identity()
        self.entity = self.group = self.job_type = self.project = self.sweep_id = self.sweep_url = ""
        self.project_url = self.url = self.sync_dir = ""
        self.disabled, self.offline, self.resumed = False, True, False
        self.start_time, self.starting_step, self.step = time.time(), 0, 0
        self.settings = SimpleNamespace()
        self._notes = ""
        self._tags: tuple[str, ...] = ()

    @property
    def run(self) -> Self:
        """The run, as in ``wandb.run``."""
        return self

    @property
    def path(self) -> str:
        """The run's path."""
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def dir(self) -> str:
        """A folder for the script's files; created when it is asked for."""
        folder = Path("wandb", "files")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if self._first_time("dir"):
                log.warning("WandBWriter: the folder %s cannot be created: %s", folder, error.strerror)
        return str(folder.absolute())

    @property
    def notes(self) -> str:
        """A description of the run, which is logged as the tag ``notes``."""
        return self._notes

    @notes.setter
    def notes(self, notes: str) -> None:
        self._notes = notes
        self.record_tag("notes", notes)

    @property
    def tags(self) -> tuple[str, ...]:
        """Labels of the run, which are logged as the tag ``tags``, with commas between them."""
        return self._tags

    @tags.setter
    def tags(self, tags: Sequence[str]) -> None:
        self._tags = (tags,) if isinstance(tags, str) else tuple(tags)
        self.record_tag("tags", ", ".join(str(tag) for tag in self._tags))

    def alert(self, title: str, text: str = "", level: Any = None, wait_duration: Any = None) -> None:
        """Log the text ``alerts/<title>``; nobody is notified."""
        self.record_text(f"alerts/{title}", f"{getattr(level, 'value', level) or 'INFO'}: {text}")

    def define_metric(
        self,
        name: str,
        step_metric: Any = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        overwrite: bool | None = None,
        goal: str | None = None,
    ) -> SimpleNamespace:
        """Count the call: receivers choose axes and summaries. A ``goal`` says which values are the good ones."""
        if goal in _DIRECTIONS and isinstance(name, str):
            with contextlib.suppress(ConfigError):  # a name that no metric can have
                self.record_direction(name, _DIRECTIONS[goal])
        self.record_ignored("define_metric()", _RECEIVER)
        return SimpleNamespace(name=name, step_metric=step_metric, summary=summary)

    def watch(
        self,
        models: Any,
        criterion: Any = None,
        log: str | None = "gradients",
        log_freq: int = 1000,
        idx: int | None = None,
        log_graph: bool = False,
    ) -> None:
        """Count the call: gradients are logged only by calls of ``log``."""
        self.record_ignored("watch()", "gradients and weights are logged only by log({'grad': run.Histogram(...)})")

    def unwatch(self, models: Any = None) -> None:
        """Do nothing: nothing is watched."""

    def save(
        self, glob_str: str | os.PathLike[str], base_path: Any = None, policy: str = "live", glob: bool = True
    ) -> list[str]:
        """Log the files that ``glob_str`` matches as artifacts, and return their paths. ``policy`` is not used."""
        found: list[Path] = []

        def make() -> None:
            pattern = os.fspath(glob_str)
            matches = globbing.glob(pattern, recursive=True) if glob else [pattern]  # noqa: PTH207 - may be absolute
            found.extend(path for path in map(Path, sorted(matches)) if path.is_file())
            if not found:
                raise Refused(f"no file matches {shorten(pattern)}")
            base = Path(base_path or Path(f"{pattern.partition('*')[0]}x").parent)
            for file in found:
                self.record_file(file, file.relative_to(base).as_posix() if file.is_relative_to(base) else file.name)

        self._made("save()", make)
        return [str(file) for file in found]

    def log_artifact(
        self,
        artifact_or_path: Any,
        name: str | None = None,
        type: str | None = None,
        aliases: list[str] | None = None,
        tags: list[str] | None = None,
    ) -> Any:
        """Log the files of an artifact, of a folder or of a path below ``<name>/``; return the artifact."""
        artifact = artifact_or_path

        def make() -> None:
            nonlocal artifact
            if isinstance(artifact_or_path, str | os.PathLike):
                source = Path(artifact_or_path)
                artifact = data_types.Artifact(name or source.name, type or "")
                if source.is_dir():
                    artifact.add_dir(source)
                else:
                    artifact.add_file(source)
            for inner, file in _files_of(artifact).items():
                self.record_file(file, f"{str(artifact.name).partition(':')[0]}/{inner}")

        self._made(str(name or artifact_or_path), make)
        return artifact if hasattr(artifact, "wait") else data_types.Artifact(str(name or artifact_or_path))

    def upsert_artifact(
        self,
        artifact_or_path: Any,
        name: str | None = None,
        type: str | None = None,
        aliases: list[str] | None = None,
        distributed_id: str | None = None,
    ) -> Any:
        """See ``log_artifact``."""
        return self.log_artifact(artifact_or_path, name, type, aliases)

    finish_artifact = upsert_artifact

    def log_model(
        self, path: str | os.PathLike[str], name: str | None = None, aliases: list[str] | None = None
    ) -> None:
        """Log the file or folder of a model below ``<name>/``."""
        self.log_artifact(path, name or f"model-{self.id}", "model", aliases)

    def log_code(
        self,
        root: str | None = ".",
        name: str | None = None,
        include_fn: Callable[..., bool] | None = None,
        exclude_fn: Callable[..., bool] | None = None,
    ) -> None:
        """Count the call: a job has its code, and a folder may have more than that."""
        self.record_ignored("log_code()", "the job has its code; log single files with save()")

    def link_artifact(self, artifact: Any, target_path: str, aliases: list[str] | None = None) -> None:
        """Count the call."""
        self.record_ignored("link_artifact()", _ELSEWHERE)

    def link_model(
        self, path: Any, registered_model_name: str, name: str | None = None, aliases: list[str] | None = None
    ) -> None:
        """Count the call."""
        self.record_ignored("link_model()", _ELSEWHERE)

    def use_artifact(
        self, artifact_or_name: Any, type: str | None = None, aliases: list[str] | None = None, use_as: Any = None
    ) -> data_types.Artifact:
        """Count the call, and return an empty artifact."""
        self.record_ignored("use_artifact()", _ELSEWHERE)
        return data_types.Artifact(str(artifact_or_name), type or "")

    def use_model(self, name: str) -> str:
        """Count the call, and return ""."""
        self.record_ignored("use_model()", _ELSEWHERE)
        return ""

    def restore(self, name: str, run_path: str | None = None, replace: bool = False, root: str | None = None) -> None:
        """Count the call."""
        self.record_ignored("restore()", _ELSEWHERE)

    def write_logs(self, text: str) -> None:
        """Log the text ``logs``."""
        self.record_text("logs", text)

    def mark_preempting(self) -> None:
        """Do nothing: the server notices a process that ends."""

    def pin_config_keys(self, keys: Sequence[str] = ()) -> None:
        """Do nothing: the receiver of the job arranges the page."""

    def display(self, height: int = 420, hidden: bool = False) -> bool:
        """Return False: there is no page to display."""
        return False

    def to_html(self, height: int = 420, hidden: bool = False) -> str:
        """Return "": there is no page."""
        return ""

    def status(self) -> None:
        """Return None: nothing is waiting to be uploaded by this process."""

    def flush(self) -> None:
        """Do nothing: all records are durable already."""

    def finish(self, exit_code: int | None = None, quiet: bool | None = None) -> None:
        """Do nothing: the receiver ends the W&B run when the job ends."""

    def login(self, *args: Any, **kwargs: Any) -> bool:
        """Return True: the receiver has the credentials."""
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()


def _files_of(artifact: Any) -> dict[str, Path]:
    """Return the files of an artifact of W&B's SDK or of ``data_types``, by their paths in it."""
    if isinstance(artifact, data_types.Artifact):
        return artifact.files
    entries = artifact.manifest.entries.items()
    return {path: Path(entry.local_path) for path, entry in entries if entry.local_path}


def _identity() -> tuple[str, str]:
    """Return the ids of the run and the site; fixed names in a script that no job runs."""
    try:
        return client.get_job_id(), client.get_site_name()
    except ConfigError:
        return "local", "local"
