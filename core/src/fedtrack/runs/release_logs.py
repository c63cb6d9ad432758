"""Release logs of a run: where they are, and whether they are as their sites have written them."""

from __future__ import annotations

from pathlib import Path

from fedtrack.errors import ConfigError, DamagedError
from fedtrack.runs.stored_run import find_run
from fedtrack.runs.workspace import RUN_FOLDER
from fedtrack.seals.release_log import FILE, Line, read_lines
from fedtrack.seals.site_key import is_signed

#: The folder of the logs that a server has received.
RECEIVED = "release_logs"


def find_logs(path: Path) -> dict[str, Path]:
    """Return the release log of each site of a run, of a site's folder, or that in a file; by site.

    Raises:
        ConfigError: There is no such run.
    """
    path = path.absolute()
    if path.is_file():
        return {_site_of(path): path}
    if (path / FILE).is_file():
        return {_site_of(path / FILE): path / FILE}
    base = find_run(path).kept
    own = {*base.glob(f"*/{RUN_FOLDER}/{FILE}"), *base.glob(f"*/{FILE}"), *base.glob(f"sites/*/{FILE}")}
    sent = base.glob(f"*/{RUN_FOLDER}/{RECEIVED}/*.jsonl")  # by the sites of other machines
    return {_site_of(one): one for one in (*sorted(sent), *sorted(own))}


def checked(path: Path) -> tuple[list[Line], str]:
    """Return the lines of a log and what is known of it, for people.

    Raises:
        DamagedError: It was changed, or a signature is not that of its key.
    """
    data = path.read_bytes()
    data = data[: data.rfind(b"\n") + 1]  # its agent may be writing
    lines, _ = read_lines(data, str(path))
    keys = sorted({line.key for line in lines if line.signature})
    if not keys:
        return lines, f"{len(lines)} lines, none is missing; not signed"
    for number, line in enumerate(lines, start=1):
        if line.signature and not is_signed(line.key, line.signature, bytes.fromhex(line.prev)):
            raise DamagedError(f"The signature in line {number} of {path} is not that of its key: it was changed.")
    behind = next(number for number, line in enumerate(reversed(lines)) if line.signature)
    rest = f"; {behind} lines since the last signature" if behind else ""
    return lines, f"{len(lines)} lines, none is missing; signed by ed25519:{', ed25519:'.join(keys)}{rest}"


def _site_of(path: Path) -> str:
    with path.open("rb") as file:
        first = file.readline()
    try:
        lines, _ = read_lines(first, str(path))
    except DamagedError:
        lines = []
    if not lines or not lines[0].site:
        raise ConfigError(f"{str(path)!r} is no release log: its first line names no site.")
    return lines[0].site
