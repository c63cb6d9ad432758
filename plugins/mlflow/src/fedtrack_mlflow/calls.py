"""Calls: metrics, parameters and tags are divided into calls that any MLflow server accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

#: MLflow's limits for one call of ``log_batch``.
METRICS = 1_000
PARAMS_OR_TAGS = 100

#: MLflow's limit is 1,000,000 bytes of JSON.
_BYTES = 900_000

#: The most bytes of JSON that a metric, parameter or tag needs besides its texts.
_OVERHEAD = 150

_T = TypeVar("_T")


def chunks(items: Iterable[_T], limit: int, texts: Callable[[_T], str]) -> Iterator[list[_T]]:
    """Yield the items in order, as lists of at most ``limit`` items whose JSON fits into one call.

    Args:
        items: Metrics, parameters or tags.
        limit: How many items one call may have.
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
    """Return an upper bound of the bytes of ``text`` as JSON, where a quote takes 2 bytes and an emoji 12."""
    return len(text) * (2 if text.isascii() and text.isprintable() else 12)
