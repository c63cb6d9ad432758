"""Every command with bad input: one sentence and an exit code, never a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import typer
from typer.testing import CliRunner

from fedtrack.cli.app import build_app
from fedtrack.errors import ConfigError, FedtrackError, system_errors

#: Commands that serve, wait or start other programs; what is said of a path is the same code.
LEFT_OUT = {"collect start", "agent", "examples run", "examples prepare-data", "ui"}

#: What writes a folder, and how; below a file and below /proc nothing can be written, even by root.
WRITES = [
    ("plugins", "new", "csv", "--dir", "{place}"),
    ("examples", "copy", "hello-numpy", "{place}"),
    ("collect", "tokens", "add", "site-1", "--folder", "{place}"),
]


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    return build_app()


def ended(app: typer.Typer, *words: str) -> int:
    """Return the exit code; an error of fedtrack's own is one line."""
    result = CliRunner().invoke(app, list(words))
    error = result.exception
    if error is None or isinstance(error, SystemExit):
        return result.exit_code
    with pytest.raises(FedtrackError) as caught, system_errors():
        raise error
    assert len(str(caught.value).splitlines()) == 1, words
    return caught.value.exit_code


@pytest.mark.parametrize("place", ["no such place", "a file", "an empty folder", "x" * 300])
def test_no_command_that_is_given_nonsense_succeeds_or_raises(
    app: typer.Typer, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a file").write_text("no Python (")
    Path("an empty folder").mkdir()
    for path, command in leaves(typer.main.get_command(app)):
        needed = [item for item in command.params if item.param_type_name == "argument" and item.required]
        if needed and " ".join(path) not in LEFT_OUT:
            code = ended(app, *path, *[place] * len(needed))
            if (" ".join(path), place) != ("runs list", "an empty folder"):
                assert code != 0, path


@pytest.mark.parametrize("words", [("list",), ("revoke", "site-1")], ids=" ".join)
def test_tokens_of_a_folder_that_is_not_there(app: typer.Typer, words: tuple[str, ...], tmp_path: Path) -> None:
    assert ended(app, "collect", "tokens", *words, "--folder", str(tmp_path / "colector")) != 0


@pytest.mark.parametrize("words", WRITES, ids=" ".join)
@pytest.mark.parametrize("place", ["/proc/nope", "{file}/inside"])
def test_a_target_that_cannot_be_written(app: typer.Typer, words: tuple[str, ...], place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    where = place.format(file=tmp_path / "file")
    assert ended(app, *(word.format(place=where) for word in words)) != 0


def test_help_has_a_short_name_in_every_group(app: typer.Typer) -> None:
    for words in ((), ("run",), ("runs",), ("runs", "list"), ("runs", "dlq", "list"), ("collect", "tokens", "add")):
        result = CliRunner().invoke(app, [*words, "-h"])
        assert result.exit_code == 0, result.output
        assert "Usage" in result.output


def test_the_shell_completes_commands(app: typer.Typer) -> None:
    variables = {"_FEDTRACK_COMPLETE": "complete_bash", "COMP_WORDS": "fedtrack rec", "COMP_CWORD": "1"}
    result = CliRunner().invoke(app, [], env=variables, prog_name="fedtrack")
    assert result.output.split() == ["receivers"]


def test_what_the_system_refuses_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^This cannot be done here: Name or service not known\.$"), system_errors():
        raise URLError("Name or service not known")
    with pytest.raises(ConfigError, match=r"/x cannot be read or written: Permission denied; check"), system_errors():
        raise PermissionError(13, "Permission denied", "/x")
    with pytest.raises(BrokenPipeError), system_errors():
        raise BrokenPipeError
