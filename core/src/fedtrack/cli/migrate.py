"""``fedtrack migrate``: move scripts and jobs over from FLARE."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Annotated

import typer

from fedtrack.output import echo

#: The most characters of a script.
_LARGEST = 10_000_000


def migrate(
    scripts: Annotated[list[Path], typer.Argument(help="Python files that import nvflare.", metavar="SCRIPT...")],
    write: Annotated[bool, typer.Option("--write", help="Change the files.")] = False,
) -> None:
    """Show the imports of nvflare replaced by fedtrack's, as a diff; no file is changed."""
    from difflib import unified_diff

    from fedtrack.errors import ConfigError
    from fedtrack.flare.migrate import migrate as rewrite

    for script in scripts:
        try:
            with script.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
                source = file.read(_LARGEST + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{script} cannot be read: {error}; give Python files.") from None
        if len(source) > _LARGEST:
            raise ConfigError(
                f"{script} has more than {_LARGEST:,} characters, and so is no script; give Python files."
            )
        migrated = rewrite(source, str(script))
        before, after = _lines(source), _lines(migrated.text)
        echo("".join(unified_diff(before, after, str(script), f"{script} (fedtrack)")), nl=False)
        for line, name in migrated.left:
            echo(f"{script}:{line}: fedtrack has no {name}; this import is left as it is.", err=True)
        if write and migrated.text != source:
            with script.open("w", encoding="utf-8", newline="") as file:
                file.write(migrated.text)


def _lines(text: str) -> list[str]:
    """Return the lines as Python counts them: a form feed ends none."""
    return list(StringIO(text, newline=""))
