"""Terms: what a site's records are released under: the policy of its owner, found and checked, and that of the job."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from fedtrack.config_file import read_config
from fedtrack.errors import ConfigError
from fedtrack.policy.gate import Gate
from fedtrack.policy.policy import CLOSED, Policy, read

#: Names the policy of a site's owner; ``{site}`` in it stands for the site's name.
VARIABLE = "FEDTRACK_POLICY"


class Terms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a site's records are released under, for every process of the site and for its agent.

    Attributes:
        policies: The owner's policy, then the job's.
        path: The file of the owner's policy, or "".
        sha256: The SHA-256 of that file, or "" if there is none or it cannot be read.
        problem: Why the owner's policy cannot be used, so that nothing is released, or "".
        changeable: Whether the user of the job can change the file: it is the user's own.
    """

    policies: tuple[Policy, ...]
    path: str = ""
    sha256: str = ""
    problem: str = ""
    changeable: bool = False

    def gate(self) -> Gate:
        """Return a gate for one process."""
        return Gate(self.policies)

    @property
    def shown(self) -> str:
        """The terms in one line, for people and for tags."""
        if self.problem:
            return f"releases nothing: {self.problem}"
        return f"sha256:{self.sha256}" if self.sha256 else "the job's own"


def terms_of(site: str, *, job: Policy | None = None, workspace: Path | None = None) -> Terms | None:
    """Return the terms of a site; None if neither its owner nor the job has a policy.

    A policy that is named and cannot be used releases nothing.

    Args:
        site: The site's name.
        job: The job's own policy.
        workspace: The folder of the run, in which no owner's policy may be: the job could write it.
    """
    jobs = () if job is None else (job,)
    try:
        named = _named()
        if not named:
            return Terms(jobs) if jobs else None
        path = Path(named.replace("{site}", site)).absolute()
    except ConfigError as error:
        return Terms((CLOSED, *jobs), problem=str(error))
    try:
        changeable = _checked(path, workspace)
        policy, sha256 = read(path)
    except ConfigError as error:
        return Terms((CLOSED, *jobs), str(path), problem=str(error))
    return Terms((policy, *jobs), str(path), sha256, changeable=changeable)


def _named() -> str:
    """Return the path that the operator has named, or ""."""
    if chosen := os.environ.get(VARIABLE, "").strip():
        return chosen
    # Never of one in the current folder: whoever brings the job may have brought that, too.
    return read_config(here=False).policy.file or ""


def _checked(path: Path, workspace: Path | None) -> bool:
    """Return whether the file of a policy is this user's own.

    Raises:
        ConfigError: It is in the run's folder, or is another user's and this user can nevertheless write it.
    """
    real = path.resolve()
    if workspace is not None and real.is_relative_to(workspace.resolve()):
        raise ConfigError(f"The policy {str(path)!r} is in the run's workspace; keep it where no job writes.")
    try:
        found, folder = real.stat(), real.parent.stat()
    except OSError as error:
        raise ConfigError(
            f"The policy {str(path)!r} cannot be read: {error.strerror}; name a file that this user can read."
        ) from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"The policy {str(path)!r} is no regular file.")
    if found.st_uid == os.geteuid() or os.geteuid() == 0:
        return True
    if _may_write(found) or (_may_write(folder) and not folder.st_mode & stat.S_ISVTX) or folder.st_uid == os.geteuid():
        raise ConfigError(
            f"The policy {str(path)!r} can be changed by the user of the job; take the right to write it away."
        )
    return False


def _may_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and found.st_gid in {os.getegid(), *os.getgroups()}
