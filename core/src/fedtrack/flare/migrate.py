"""Migration of a script or job that was written for FLARE: its imports are rewritten, nothing else has to change."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from fedtrack.errors import ConfigError

_TRACKING = "fedtrack.client.tracking"
_PLUGINS = {
    "SummaryWriter": _TRACKING,
    "MLflowWriter": _TRACKING,
    "WandBWriter": _TRACKING,
    "TBAnalyticsReceiver": "fedtrack_tensorboard",
    "MLflowReceiver": "fedtrack_mlflow",
    "WandBReceiver": "fedtrack_wandb",
    "patch": "fedtrack_lightning",
    "FLCallback": "fedtrack_lightning",
}

#: Modules that scripts import as a whole. From all others they import names, which are the same in fedtrack.
_MODULES = {
    "nvflare.client": "fedtrack.client",
    "nvflare.client.lightning": "fedtrack_lightning",
    "nvflare.client.tracking": _TRACKING,
}


@dataclass(frozen=True, slots=True)
class Migrated:
    """A rewritten file.

    Attributes:
        text: The file with fedtrack's imports.
        left: The imports that could not be rewritten: (line, counted from 1, and the imported name).
    """

    text: str
    left: list[tuple[int, str]]


def migrate(source: str, filename: str) -> Migrated:
    """Rewrite the imports of ``nvflare`` in ``source``; comments and everything else stay as they are.

    Raises:
        ConfigError: ``source`` is not valid Python.
    """
    try:
        tree = ast.parse(source, filename)
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{filename} is not valid Python: {error}.") from None
    except (RecursionError, MemoryError):
        raise ConfigError(f"{filename} has expressions in each other, too deep to be read; give other files.") from None
    lines = source.encode().splitlines(keepends=True)
    starts = list(accumulate(map(len, lines), initial=0))
    data, left = source.encode(), []
    for node in sorted(_imports(tree), key=lambda node: (node.lineno, node.col_offset), reverse=True):
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        found, unknown = _rewritten(node, data[start:end].decode())
        indent = lines[node.lineno - 1][: node.col_offset].decode()
        between = "; " if indent.strip() else "\n" + indent
        data = data[:start] + between.join(found).encode() + data[end:]
        left += [(node.lineno, name) for name in reversed(unknown)]
    return Migrated(data.decode(), left[::-1])


def _imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.walk(tree):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules = [node.module or ""]
        if any(module.partition(".")[0] == "nvflare" for module in modules):
            assert isinstance(node, ast.Import | ast.ImportFrom)  # noqa: S101 - narrows the type
            yield node


def _rewritten(node: ast.Import | ast.ImportFrom, text: str) -> tuple[list[str], list[str]]:
    """Return the statements that replace ``node``, and the names that fedtrack does not have."""
    if isinstance(node, ast.Import):
        return _import(node, text)
    module = node.module or ""
    homes: dict[str, list[ast.alias]] = {}
    for alias in node.names:
        homes.setdefault(_home(module, alias.name), []).append(alias)
    unknown = [f"{module}.{alias.name}" for alias in homes.get("", [])]
    if len(homes) == 1 and not unknown:  # in place, so that line breaks and comments stay
        return [re.sub(rf"\Afrom\s+{re.escape(module)}\b", f"from {next(iter(homes))}", text)], []
    if len(homes) == 1:
        return [text], unknown
    statements = [f"from {home or module} import {_names(aliases)}" for home, aliases in homes.items()]
    return statements, unknown


def _import(node: ast.Import, text: str) -> tuple[list[str], list[str]]:
    unknown = []
    for alias in node.names:
        if alias.name.partition(".")[0] != "nvflare":
            continue
        # Without "as", the code below says nvflare.client.send(...), which is not rewritten.
        if alias.name in _MODULES and alias.asname:
            text = re.sub(rf"\b{re.escape(alias.name)}(?=\s+as\b)", _MODULES[alias.name], text)
        else:
            unknown.append(alias.name)
    return [text], unknown


def _names(aliases: list[ast.alias]) -> str:
    return ", ".join(f"{alias.name} as {alias.asname}" if alias.asname else alias.name for alias in aliases)


def _home(module: str, name: str) -> str:
    """Return the module of fedtrack that has ``name``; "" if there is none."""
    if f"{module}.{name}" == "nvflare.client.tracking":
        return "fedtrack.client"
    return _homes().get(name, "")


@cache
def _homes() -> dict[str, str]:
    # By name alone, because FLARE moves its modules from version to version. A name that is in the modules for jobs and
    # in those for scripts comes from the latter, which import less.
    import fedtrack.client
    import fedtrack.job

    return (
        dict.fromkeys(fedtrack.job.__all__, "fedtrack.job")
        | dict.fromkeys(fedtrack.client.__all__, "fedtrack.client")
        | _PLUGINS
    )
