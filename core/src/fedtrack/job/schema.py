"""Schema: the JSON Schema of the files of an exported job, made from the types that read them.

Schemas are of draft 2020-12 (https://json-schema.org/draft/2020-12). Values that depend on each other, such as
``min_clients`` and the number of sites, are checked by ``load_job`` and are not in a schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from fedtrack.job.components import ALIASES, COMPONENTS, RUNNERS
from fedtrack.job.config import CLIENT_FILE, META_FILE, SERVER_FILE, ClientConfig, ServerConfig
from fedtrack.job.meta import Meta
from fedtrack.job.workflows import DESCRIBED
from fedtrack.plugins import registry

#: The type of each file, by its place in a job or in an app.
FILES: dict[str, type[msgspec.Struct]] = {META_FILE: Meta, SERVER_FILE: ServerConfig, CLIENT_FILE: ClientConfig}

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def job_schema() -> dict[str, dict[str, Any]]:
    """Return the schema of each file of a job, with the components of core and of the installed plugins."""
    return {
        META_FILE: _document(Meta, {}),
        SERVER_FILE: _document(ServerConfig, {"workflows": _workflows(), "components": _components("server")}),
        CLIENT_FILE: _document(ClientConfig, {"executors": _executors(), "components": _components("site")}),
    }


def _document(type_: type[msgspec.Struct], lists: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the schema of a file; ``lists`` has the possible items of its lists."""
    (reference,), shared = msgspec.json.schema_components([type_], ref_template="#/$defs/{name}")
    found: dict[str, Any] = shared.pop(reference["$ref"].rpartition("/")[2])
    for name, items in lists.items():
        found["properties"][name] = {"type": "array", "items": {"anyOf": items}}
    for name in ("task_data_filters", "task_result_filters"):
        if name in found["properties"]:
            found["properties"][name] = {"type": "array", "maxItems": 0}
    used = {name: item for name, item in shared.items() if name not in _REPLACED}
    return {"$schema": _DRAFT} | found | ({"$defs": used} if used else {})


#: Definitions in whose place the variants of each component stand.
_REPLACED = ("ComponentConfig", "ExecutorConfig", "ExecutorComponent")


def _workflows() -> list[dict[str, Any]]:
    known = dict(registry().workflows) | DESCRIBED
    return [item for name, cls in sorted(known.items()) for item in _variants(name, cls, _aliases(name), needs_id=True)]


def _components(node: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, cls in sorted(COMPONENTS.items()):
        if cls.node == node and name not in RUNNERS:
            found += _variants(name, cls, _aliases(name), needs_id=True)
    for name, receiver in sorted(registry().receivers.items()):
        found += _variants(name, receiver.Options, receiver.aliases, needs_id=True)
    return found


def _executors() -> list[dict[str, Any]]:
    schema = msgspec.json.schema_components([ClientConfig], ref_template="#/$defs/{name}")[1]["ExecutorConfig"]
    runners = [item for name, cls in sorted(RUNNERS.items()) for item in _variants(name, cls, (), needs_id=False)]
    schema["properties"]["executor"] = {"anyOf": runners}
    return [schema]


def _aliases(name: str) -> list[str]:
    return [alias for alias, meant in ALIASES.items() if meant == name]


def _variants(name: str, cls: Any, aliases: Iterable[str], *, needs_id: bool) -> list[dict[str, Any]]:
    """Return the item under its own name, and the one under FLARE's names, which has further arguments."""
    arguments = msgspec.json.schema(cls)
    reference = arguments.get("$ref", "").rpartition("/")[2]
    args = {**arguments.get("$defs", {}).get(reference, arguments)}
    others = {key: value for key, value in arguments.get("$defs", {}).items() if key != reference}
    if others:  # the definitions of an argument stand in it, so that an item can be read alone
        args = _inlined(args, others)
    own = args | {"properties": {k: v for k, v in args["properties"].items() if k not in getattr(cls, "ignored", ())}}
    found = [_item([name], own, needs_id=needs_id)]
    return found + ([_item(list(aliases), args, needs_id=needs_id)] if aliases else [])


def _inlined(value: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if "$ref" in value:
            return _inlined(definitions[value["$ref"].rpartition("/")[2]], definitions)
        return {key: _inlined(item, definitions) for key, item in value.items()}
    return [_inlined(item, definitions) for item in value] if isinstance(value, list) else value


def _item(paths: list[str], args: dict[str, Any], *, needs_id: bool) -> dict[str, Any]:
    _, shared = msgspec.json.schema_components([ServerConfig], ref_template="#/$defs/{name}")
    needs_args = bool(args.get("required"))
    id_ = shared["ComponentConfig"]["properties"]["id"] if needs_id else {"type": "string"}
    return {
        "type": "object",
        "properties": {"id": id_, "path": {"enum": paths}, "args": args},
        "required": [*(["id"] if needs_id else []), "path", *(["args"] if needs_args else [])],
        "additionalProperties": False,
    }
