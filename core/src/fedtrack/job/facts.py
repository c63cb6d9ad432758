"""Facts: what a job says of itself, for the page of its run in a backend."""

from __future__ import annotations

import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from fedtrack.plugins.workflow import Workflow

#: Of a larger file, such as an initial model, only the size is part of the hash.
_MOST_BYTES = 16 * 1024 * 1024


def facts_of(workflows: Iterable[Workflow], folder: Path) -> dict[str, str | int]:
    """Return the number of rounds, the workflows, their aggregators and the hash of the files in the job's folder."""
    listed = list(workflows)
    facts: dict[str, str | int] = {
        "rounds": sum(workflow.planned_rounds() for workflow in listed),
        "workflows": ", ".join(type(workflow).__name__ for workflow in listed),
        "job_hash": hash_of(folder),
    }
    aggregators = dict.fromkeys(str(item.aggregator) for item in listed if hasattr(item, "aggregator"))
    return facts | ({"aggregator": ", ".join(aggregators)} if aggregators else {})


def hash_of(folder: Path) -> str:
    """Return 16 hex digits that differ for jobs with other files; "" if a file cannot be read."""
    digest = sha256()
    try:
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            size = file.stat().st_size
            digest.update(f"{os.fspath(file.relative_to(folder))}\0{size}\0".encode())
            if size <= _MOST_BYTES:
                digest.update(file.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest()[:16]
