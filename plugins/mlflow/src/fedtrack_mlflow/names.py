"""Names: the names of a run's keys, which are readable where MLflow refuses a key, and the table that tells the keys.

MLflow refuses ``MAP@k``, which becomes ``MAP_at_k``. The tag ``fedtrack.names`` of the run has the table of such names
as JSON, ``{name: key}``; a large table goes on in ``fedtrack.names.2`` and so on. If a readable name is another key's,
the key gets the name of ``keys.encode``, which no other key can have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from fedtrack_mlflow import keys

TAG = f"{keys.RESERVED_PREFIXES[1]}names"

#: MLflow's limit for a tag was 5,000 characters in its first versions.
_MOST_CHARS = 4_500


def table_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of a run by their names, as far as both differ."""
    table: dict[str, str] = {}
    for name, value in tags.items():
        if name == TAG or name.startswith(f"{TAG}."):
            table |= json.loads(value)
    return table


class Names:
    """The names that the keys of one run have.

    Args:
        tags: The run's tags.
        taken: The names of its metrics, parameters and tags.
    """

    def __init__(self, tags: Mapping[str, str], taken: Iterable[str]) -> None:
        self._table = table_of(tags)
        self._keys = {name: name for name in taken} | self._table
        self._names = {key: name for name, key in self._table.items()}
        self._changed = False

    def encode(self, key: str) -> str:
        """Return the name of a metric or parameter."""
        return self._name(key, keys.encode)

    def encode_tag(self, key: str) -> str:
        """Return the name of a tag that a site sets; it never starts with a reserved prefix."""
        return self._name(key, keys.encode_tag)

    def note(self, name: str, key: str) -> None:
        """Put ``key`` into the table, if it has another name."""
        self._keys[name] = key
        if name != key and self._table.get(name) != key:
            self._table[name] = key
            self._changed = True

    def changed_tags(self) -> dict[str, str]:
        """Return the tags with the table, if it has changed since the last call; store them before using the names."""
        if not self._changed:
            return {}
        self._changed = False
        chunks: list[dict[str, str]] = [{}]
        size = 0
        for name, key in self._table.items():
            cost = len(json.dumps({name: key}, ensure_ascii=False))
            if size + cost > _MOST_CHARS and chunks[-1]:
                chunks.append({})
                size = 0
            chunks[-1][name] = key.replace("\0", "\\x00")  # PostgreSQL refuses NUL
            size += cost
        return {
            TAG if number == 1 else f"{TAG}.{number}": json.dumps(chunk, ensure_ascii=False)
            for number, chunk in enumerate(chunks, start=1)
        }

    def _name(self, key: str, encode: Callable[[str], str]) -> str:
        known = self._names.get(key)
        if known is not None and encode is keys.encode:
            return known
        name = encode(key)
        if name != key and (readable := keys.readable(key)) and self._keys.get(readable, key) == key:
            name = readable
        elif name == key and self._keys.get(name, key) != key:
            name = keys.encode_flat(key)  # a readable name of another key
        if name != key:
            self._names.setdefault(key, name)
        self.note(name, key)
        return name
