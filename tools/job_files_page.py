"""The tables of docs/job-files.md, made from the schema and from the docstrings of the types.

python tools/job_files_page.py            # compare
python tools/job_files_page.py --write    # write
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from fedtrack.job.components import COMPONENTS
from fedtrack.job.schema import FILES, job_schema
from fedtrack.job.workflows import DESCRIBED
from fedtrack.plugins import registry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "job-files.md"
BEGIN, END = "<!-- written by tools/job_files_page.py -->\n", "<!-- end -->\n"

#: The receivers of this project; those of other plugins that are installed here are not on the page.
RECEIVERS = ("mlflow", "tensorboard", "wandb")


def tables() -> str:
    """Return the page's tables: of each file, and of each workflow, component, executor and receiver."""
    schemas = job_schema()
    parts = []
    for file, type_ in FILES.items():
        parts.append(f"### `{file}`\n\n{_table(schemas[file], meanings(type_))}")
    for title, place, classes in (
        ("Workflows", ("config/config_fed_server.json", "workflows"), dict(DESCRIBED)),
        ("Components of the server", ("config/config_fed_server.json", "components"), COMPONENTS),
        ("Components of a site", ("config/config_fed_client.json", "components"), COMPONENTS),
    ):
        items = schemas[place[0]]["properties"][place[1]]["items"]["anyOf"]
        parts.append(f"### {title}")
        parts += [_item(item, classes) for item in items if item["properties"]["path"]["enum"][0] in classes]
    (executor,) = schemas["config/config_fed_client.json"]["properties"]["executors"]["items"]["anyOf"]
    parts.append("### Executors")
    parts += [_item(item, COMPONENTS) for item in executor["properties"]["executor"]["anyOf"]]
    parts.append("### Receivers, on the server and at sites")
    known = {name: registry().receivers[name].Options for name in RECEIVERS}
    items = schemas["config/config_fed_server.json"]["properties"]["components"]["items"]["anyOf"]
    parts += [_item(item, known) for item in items if item["properties"]["path"]["enum"][0] in known]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def meanings(cls: Any) -> dict[str, str]:
    """Return the meaning of each field, from the docstrings of a class and its bases."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        _, _, rest = (inspect.getdoc(base) or "").partition("\nAttributes:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", rest, re.MULTILINE):
            found[name] = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
    return found


def _item(item: dict[str, Any], classes: Any) -> str:
    name = item["properties"]["path"]["enum"][0]
    args = item["properties"]["args"]
    table = _table(args, meanings(classes[name])) if args.get("properties") else "It has no arguments."
    return f"#### `{name}`\n\n{table}"


def _table(schema: dict[str, Any], meaning: dict[str, str]) -> str:
    rows = ["| field | value | default | meaning |", "|---|---|---|---|"]
    for name, item in schema["properties"].items():
        value = _FIXED.get(name) or _value(item)
        default = f"`{json.dumps(item['default'])}`" if "default" in item else ""
        default = "needed" if name in schema.get("required", []) else default
        rows.append(f"| `{name}` | {value} | {default} | {meaning.get(name) or _MEANINGS[name]} |")
    return "\n".join(rows)


#: Lists whose items have tables of their own.
_FIXED = {"workflows": "list of workflows", "components": "list of components", "executors": "list of one executor"}
_MEANINGS = {
    "format_version": "The format of the file; 2.",
    "workflows": "The workflows, in the order in which they run.",
    "components": "The node's components and receivers.",
    "executors": "What does the site's tasks, and which tasks: `train`, `validate`, `submit_model`, or `*` for all.",
    "task_data_filters": "Filters of FLARE, which fedtrack does not have.",
    "task_result_filters": "Filters of FLARE, which fedtrack does not have.",
    "wandb_args": "Arguments that are passed on to `wandb.init`.",
    "events": "The events to listen to; see ReceiverOptions.",
}


def _value(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_value(item) for item in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    kind = schema.get("type", "any value")
    if kind == "array":
        return "`[]`" if schema.get("maxItems") == 0 else f"list of {_value(schema.get('items', {}))}"
    if kind == "string" and schema.get("pattern", "").startswith("^[A-Za-z0-9]["):
        return "name"
    limits = [f"{words} {schema[key]}" for key, words in _LIMITS.items() if key in schema]
    return " ".join([kind.replace("integer", "whole number"), *limits])


_LIMITS = {"minimum": "from", "exclusiveMinimum": "over", "maximum": "to"}


def page() -> str:
    """Return the page with its tables as they are to be."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + tables() + "\n" + END + after


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page())
    elif PAGE.read_text() != page():
        sys.exit("docs/job-files.md is older than the code: python tools/job_files_page.py --write")
