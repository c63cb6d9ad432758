"""What a page of the documentation shows."""

from __future__ import annotations

import re
from itertools import pairwise


def files_on(page: str) -> dict[str, str]:
    """Return the files that a page shows; one that is shown in several blocks is joined."""
    found: dict[str, list[str]] = {}
    for name, block in re.findall(r'^```python title="([^"]+)"\n(.*?)^```$', page, re.DOTALL | re.MULTILINE):
        found.setdefault(name, []).append(block.strip("\n"))
    return {name: _joined(blocks) for name, blocks in found.items()}


def _joined(blocks: list[str]) -> str:
    text = blocks[0]
    for before, block in pairwise(blocks):
        inside = block.startswith(" ")  # the next method of a class
        ends_in_class = before.splitlines()[-1].startswith(" ")
        text += ("\n\n" if inside and ends_in_class else "\n\n\n") + block
    return text + "\n"
