"""Report: the page of one run, or of two that are compared, in one file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import html
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import msgspec

from fedtrack.errors import ConfigError, FedtrackError
from fedtrack.files import write_whole
from fedtrack.runs import StoredRun, find_run
from fedtrack_ui.across_data import across_data
from fedtrack_ui.app import STATIC
from fedtrack_ui.count_data import count_data
from fedtrack_ui.followed_run import FollowedRun
from fedtrack_ui.item import read_item
from fedtrack_ui.places import name_of
from fedtrack_ui.run_data import run_data
from fedtrack_ui.run_facts import RunFacts, facts_of
from fedtrack_ui.stream_data import SITES, stream_data

#: Above so many bytes of data, further metrics and pictures are left to the live page.
DATA_BYTES = 1_500_000
_ITEM_BYTES, _ITEMS = 100_000, 40
_AXES = ("round", "step", "time")


def write_report(runs: Sequence[Path], output: Path) -> int:
    """Write a report and return its size in bytes.

    Args:
        runs: One run, or two to compare.
        output: The file.

    Raises:
        ConfigError: A path holds no run, or both are the same one.
        WorkspaceError: The file cannot be written.
    """
    found = [find_run(path) for path in runs]
    names = [name_of(run) for run in found]
    if len(set(names)) < len(names):
        raise ConfigError(f"{runs[0]} and {runs[1]} are the same run; give another one.")
    data: dict[str, Any] = {}
    for name, run in zip(names, found, strict=True):
        data.update(_data_of(name, run, DATA_BYTES // len(names)))
    data["start"] = {"compare": "\n".join(names)} if len(names) > 1 else {"run": names[0]}
    content = page_with(data)
    write_whole(output.absolute(), content)
    return len(content)


def _data_of(name: str, run: StoredRun, room: int) -> dict[str, Any]:
    followed = FollowedRun(run)
    try:
        followed.catch_up()
        with followed.reading() as database:
            facts = facts_of(followed.run, database)
            found: dict[str, Any] = {}
            for path, answer in _answers(f"/api/runs/{name}", followed.run, database, facts):
                size = len(msgspec.json.encode(answer))
                if size <= room:
                    found[path] = answer
                    room -= size
            return found
    finally:
        followed.close()


def _answers(base: str, run: StoredRun, database: sqlite3.Connection, facts: RunFacts) -> Iterator[tuple[str, Any]]:
    """Yield what the live page would be told, by address; the most important first."""
    data = run_data(database, facts, facts.events) | {"behind": False}
    yield base, data
    yield f"{base}/counts", count_data(run, database, running=facts.state.goes_on)
    keys = sorted((one.key for one in facts.metrics), key=lambda key: (key != facts.key, "/" in key))
    for axis in _AXES:
        for key in keys:
            yield _address(base, "across", metric=key, axis=axis), across_data(database, facts, key, axis)
    order = [site["site"] for site in data["sites"]][:SITES]
    for one in facts.metrics:
        if one.streamed:
            yield _address(base, "stream", metric=one.key), stream_data(database, one.key, order)
    for item in data["items"][:_ITEMS]:
        if item["size"] <= _ITEM_BYTES and item["kind"] != "artifact":
            try:
                found = read_item(run, database, item["id"])
            except (FedtrackError, OSError):
                continue
            yield f"{base}/items/{item['id']}", _embedded(found.content, found.type)


def _address(base: str, rest: str, **query: str) -> str:
    """Return an address as the page's script writes it."""
    pairs = "&".join(f"{name}={quote_plus(value, safe='*-._')}" for name, value in query.items())
    return f"{base}/{rest}?{pairs}".replace("~", "%7E")


def _embedded(content: bytes, type_: str) -> str:
    if type_.startswith("image/"):
        return f"data:{type_};base64,{base64.b64encode(content).decode()}"
    return content.decode(errors="replace")


def page_with(data: dict[str, Any]) -> bytes:
    """Return the page with its scripts, its style and the data in it.

    Scripts and style are allowed by their hashes, so that nothing that a run holds can become a script.
    """
    index = (STATIC / "index.html").read_text()
    scripts = [name.split('"')[0] for name in index.split('<script src="/static/')[1:]]
    script = "\n".join((STATIC / name).read_text() for name in scripts)
    style = "\n".join((STATIC / name).read_text() for name in ("uplot.css", "page.css"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    # JSON in a script element ends at the first "</script>"; no "<" of a run's text may be one.
    embedded = msgspec.json.encode(data).decode().replace("<", "\\u003c")
    head = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>fedtrack</title>\n<link rel="icon" href="data:,">\n<style>{style}</style>\n</head>',
    ]
    body = index[index.index("<body>") : index.index('<script src="')]
    kept = f'<script type="application/json" id="report-data">{embedded}</script>'
    return "\n".join([*head, body, kept, f"<script>{script}</script>", "</body>\n</html>\n"]).encode()


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
