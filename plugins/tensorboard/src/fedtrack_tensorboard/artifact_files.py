"""Artifact files: TensorBoard shows no files, so those of a site are beside its event files."""

from __future__ import annotations

import errno
from pathlib import Path
from uuid import uuid4

FOLDER = "artifacts"

#: Errors of a path that the file system cannot hold, for example because its folder is already a file.
_REFUSING = {errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.EINVAL}


def write_artifact(site: Path, path: str, data: bytes) -> int:
    """Write ``<site>/artifacts/<path>``, or replace it, and return its size.

    Args:
        site: The site's folder.
        path: The artifact's path, which may come from a site that does not follow the rules.
        data: Its content.

    Raises:
        ValueError: The path is not relative and plain, or the file system cannot hold it.
        OSError: The file cannot be written now.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"the path {path[:200]!r} of an artifact is not relative and plain")
    target = Path(site, FOLDER, *parts)
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid4().hex}")
        try:
            temporary.write_bytes(data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in _REFUSING:
            raise ValueError(f"the artifact {path[:200]!r} cannot be a file: {error.strerror}") from None
        raise
    return len(data)
