"""Package: the metadata of an installed distribution that the loader needs."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import Distribution


@dataclass(frozen=True, slots=True)
class Package:
    """The head of a distribution's metadata.

    Attributes:
        name: Its own name, or "" if the metadata is damaged.
        version: Its version, or "" if the metadata is damaged.
        summary: One line, or "".
        requires: The distributions that it needs, one requirement each.
    """

    name: str
    version: str
    summary: str
    requires: tuple[str, ...]


def package_of(distribution: Distribution) -> Package:
    """Read a distribution's metadata, once and without its description.

    ``importlib.metadata`` parses the whole file, README included, at every access: that took a quarter of a listing's
    time.
    """
    text = distribution.read_text("METADATA")
    if text is None:  # an egg has other files, which only importlib.metadata knows
        found = {field: distribution.metadata[field] for field in ("Name", "Version") if field in distribution.metadata}
        return Package(found.get("Name", ""), found.get("Version", ""), "", tuple(distribution.requires or ()))
    fields: dict[str, list[str]] = {}
    for line in text.splitlines():
        if not line:
            break
        field, colon, value = line.partition(":")
        if colon and not line[0].isspace():
            fields.setdefault(field.lower(), []).append(value.strip())
    first = {field: values[0] for field, values in fields.items()}
    return Package(
        first.get("name", ""),
        first.get("version", ""),
        first.get("summary", ""),
        tuple(fields.get("requires-dist", ())),
    )
