"""Outbox: the folder of a user's spools that are on their way to collectors.

::

    <outbox>/<collector>/<run>/target.json          the collector's address and the run
    <outbox>/<collector>/<run>/agent.lock           held by the agent that ships this run
    <outbox>/<collector>/<run>/agent.log
    <outbox>/<collector>/<run>/sites/<site>/spool/
    <outbox>/<collector>/<run>/sites/<site>/token   0600; deleted when everything has arrived
    <outbox>/<collector>/<run>/sites/<site>/status.json

A run's folder stays until its last record has arrived. So a machine that was off ships it at the next connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from fedtrack.errors import DamagedError, WorkspaceError
from fedtrack.files import write_whole
from fedtrack.json_text import read_json_file
from fedtrack.private_folder import private_folder, state_folder

#: The environment variable that moves the outbox.
OUTBOX_VARIABLE = "FEDTRACK_OUTBOX"

_TARGET_FILE, _TOKEN_FILE, _STATUS_FILE = "target.json", "token", "status.json"


class Target(msgspec.Struct, frozen=True):
    """The destination of a run's records.

    Attributes:
        address: The collector's address, as the user wrote it.
        run: The run's name.
    """

    address: str
    run: str


class Shipped(msgspec.Struct):
    """What an agent says about a site; keys are only ever added.

    Attributes:
        complete: Whether the collector has confirmed that it has everything.
        waiting: Why records are not sent now, or "".
        refused: Streams that the collector will never take, with its reason.
        said: Streams that were in an earlier goodbye.
        skew: The collector's clock minus this machine's, in seconds; None if it is not known.
    """

    complete: bool = False
    waiting: str = ""
    refused: dict[str, str] = {}
    said: list[str] = []
    skew: float | None = None


@dataclass(frozen=True)
class SiteBox:
    """The folder of one site of a run."""

    folder: Path

    @property
    def site(self) -> str:
        """The site's name."""
        return self.folder.name

    @property
    def spool(self) -> Path:
        """The folder of its spool."""
        return self.folder / "spool"

    @property
    def token(self) -> str:
        """Its token; "" if there is none any more."""
        try:
            return (self.folder / _TOKEN_FILE).read_text().strip()
        except OSError:
            return ""

    def keep_token(self, token: str) -> None:
        """Store the token for the agent.

        Raises:
            WorkspaceError: It cannot be stored.
        """
        write_whole(self.folder / _TOKEN_FILE, token.encode() + b"\n")

    def forget_token(self) -> None:
        """Delete the token."""
        with contextlib.suppress(OSError):
            (self.folder / _TOKEN_FILE).unlink()

    def shipped(self) -> Shipped:
        """Return what the agent last said."""
        try:
            return read_json_file(self.folder / _STATUS_FILE, Shipped)
        except (OSError, msgspec.MsgspecError):
            return Shipped()

    def tell(self, shipped: Shipped) -> None:
        """Store what there is to say; on a full disk an earlier word stays."""
        with contextlib.suppress(WorkspaceError):
            write_whole(self.folder / _STATUS_FILE, msgspec.json.encode(shipped))


@dataclass(frozen=True)
class RunBox:
    """The folder of one run."""

    folder: Path

    @property
    def target(self) -> Target:
        """The destination.

        Raises:
            DamagedError: The file cannot be read.
        """
        path = self.folder / _TARGET_FILE
        try:
            return read_json_file(path, Target)
        except (OSError, msgspec.MsgspecError) as error:
            raise DamagedError(
                f"{path} cannot be read, so the destination of what lies there is not known: {error}; "
                "connect to the same collector and run once more, which writes it again."
            ) from None

    @property
    def lock(self) -> Path:
        """The file that the agent of this run locks."""
        return self.folder / "agent.lock"

    @property
    def log(self) -> Path:
        """The agent's log."""
        return self.folder / "agent.log"

    def sites(self) -> list[SiteBox]:
        """Return the folders of its sites."""
        return [SiteBox(path) for path in sorted((self.folder / "sites").glob("*")) if (path / "spool").is_dir()]

    def site(self, name: str) -> SiteBox:
        """Return a site's folder, which is created.

        Raises:
            WorkspaceError: It cannot be created.
        """
        box = SiteBox(self.folder / "sites" / name)
        _create(box.spool)
        return box


class Outbox:
    """All folders of one user.

    Args:
        root: The folder; None means the environment's, or the user's state folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_folder() if root is None else root.absolute()

    def run(self, target: Target) -> RunBox:
        """Return the folder of a run, which is created.

        Raises:
            WorkspaceError: It cannot be created.
        """
        key = hashlib.sha256(target.address.encode()).hexdigest()[:16]
        box = RunBox(self.root / key / target.run)
        _create(box.folder)
        if not (box.folder / _TARGET_FILE).exists():
            write_whole(box.folder / _TARGET_FILE, msgspec.json.encode(target))
        return box

    def runs(self) -> list[RunBox]:
        """Return the folders of every run that has records here."""
        return [RunBox(path.parent) for path in sorted(self.root.glob(f"*/*/{_TARGET_FILE}"))]

    def forget(self, run: str, site: str) -> int:
        """Delete what lies here of a site of a run, on its way to any collector; return the number of files.

        Args:
            run: The run's name.
            site: The site.
        """
        deleted = 0
        for box in self.runs():
            folder = box.folder / "sites" / site
            if box.folder.name == run and folder.is_dir():
                deleted += sum(path.is_file() for path in folder.rglob("*"))
                shutil.rmtree(folder)
        return deleted


def default_folder() -> Path:
    """Return the folder of the environment, or the one in the user's state folder."""
    if chosen := os.environ.get(OUTBOX_VARIABLE):
        return Path(chosen).absolute()
    return state_folder() / "outbox"


def _create(folder: Path) -> None:
    try:
        private_folder(folder, "outbox", [_TARGET_FILE, "sites", "spool.json"])
    except WorkspaceError as error:
        raise WorkspaceError(f"{str(error).removesuffix('.')} ({OUTBOX_VARIABLE} names it).") from None
