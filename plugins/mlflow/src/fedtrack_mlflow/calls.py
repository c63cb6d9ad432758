"""Cuts what is to be logged into calls that any MLflow server takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

#: MLflow's limits for one call of ``log_batch``.
METRICS = 1_000
PARAMS_OR_TAGS = 100

#: MLflow's limit is 1,000,000 bytes of JSON.
_BYTES = 900_000

#: What a metric's, parameter's or tag's JSON has beside its texts, at most.
_OVERHEAD = 150

_T = TypeVar("_T")


def chunks(items: Iterable[_T], limit: int, texts: Callable[[_T], str]) -> Iterator[list[_T]]:
    """Yield the items in order, at most ``limit`` in a list and not too many bytes of JSON.

    Args:
        items: Metrics, parameters or tags.
        limit: How many one call may hold.
        texts: Returns an item's texts, joined.
    """
    chunk: list[_T] = []
    size = 0
    for item in items:
        cost = _OVERHEAD + _json_bytes(texts(item))
        if chunk and (len(chunk) == limit or size + cost > _BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += cost
    if chunk:
        yield chunk


def _json_bytes(text: str) -> int:
    """Return a length that the JSON of ``text`` does not exceed: a quote takes 2 bytes there, an emoji 12."""
    return len(text) * (2 if text.isascii() and text.isprintable() else 12)
