"""NamedSites: an exported job that is for all sites, with the names of the sites of one run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.job.config import META_FILE, read_json, write_json
from fedtrack.job.job_tree import check_tree
from fedtrack.job.meta import Meta
from fedtrack.job.values import ALL_SITES
from fedtrack.tracking.events import SERVER


@contextmanager
def with_sites(folder: Path, sites: Sequence[str] | None) -> Iterator[Path]:
    """Yield a job whose sites are ``sites``: a copy of the one in ``folder``, which is deleted at the end.

    Args:
        folder: An exported job.
        sites: The names of its sites; None yields ``folder`` itself.

    Raises:
        ConfigError: The job names other sites, or its settings do not fit ``sites``.
    """
    if sites is None:
        yield folder
        return
    check_tree(folder)
    meta = read_json(folder / META_FILE, Meta)
    if not meta.is_for_all_sites:
        if sorted(sites) != sorted(meta.sites):
            raise ConfigError(
                f"{folder / META_FILE}: $.deploy_map names the sites {', '.join(meta.sites)}; leave out the names and "
                f"the number of sites, or write {ALL_SITES!r} there."
            )
        yield folder
        return
    named = _named(folder, meta, sites)
    with tempfile.TemporaryDirectory(prefix="fedtrack-job-") as place:
        copy = Path(shutil.copytree(folder, Path(place) / meta.name))
        write_json(copy / META_FILE, named)
        yield copy


def _named(folder: Path, meta: Meta, sites: Sequence[str]) -> Meta:
    """Return ``meta`` with names in the place of ``@ALL``, which also means the server if nothing else names it."""
    has_server = any(SERVER in nodes for nodes in meta.deploy_map.values())
    names = [*([] if has_server else [SERVER]), *sites]
    deploy_map = {
        app: [name for node in nodes for name in (names if node == ALL_SITES else [node])]
        for app, nodes in meta.deploy_map.items()
    }
    try:
        return msgspec.structs.replace(meta, deploy_map=deploy_map)
    except ConfigError as error:
        raise ConfigError(f"{folder / META_FILE}: {error}") from None
