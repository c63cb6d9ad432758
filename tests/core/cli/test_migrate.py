"""``fedtrack migrate``: shows what would change, and changes it only when told to."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedtrack.cli.app import build_app
from fedtrack.errors import ConfigError
from support.command_line import fedtrack

SOURCE = b"# -*- coding: utf-8 -*-\r\nimport nvflare.client as flare  # \xc3\xa9\r\nimport nvflare.private\r\n"


def test_a_diff_is_shown_and_the_file_is_left_alone(tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_bytes(SOURCE)
    result = CliRunner().invoke(build_app(), ["migrate", str(script)])
    assert result.exit_code == 0
    assert "-import nvflare.client as flare  # é" in result.stdout
    assert "+import fedtrack.client as flare  # é" in result.stdout
    assert f"{script}:3: fedtrack has no nvflare.private; this import is left as it is." in result.stderr
    assert script.read_bytes() == SOURCE


def test_write_keeps_everything_else_to_the_byte(tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_bytes(SOURCE)
    fedtrack("migrate", "--write", str(script))
    assert script.read_bytes() == SOURCE.replace(b"nvflare.client", b"fedtrack.client")
    assert fedtrack("migrate", "--write", str(script)) == ""


@pytest.mark.parametrize("content", [None, b"x = '\xff'"])
def test_a_file_that_cannot_be_read_is_named_and_what_came_before_it_is_done(
    content: bytes | None, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_bytes(SOURCE)
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"{bad} cannot be read: .*; give Python files"):
        fedtrack("migrate", "--write", str(good), str(bad))
    assert b"fedtrack.client" in good.read_bytes()
