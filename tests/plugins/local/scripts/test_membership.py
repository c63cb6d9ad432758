"""How a process finds its site: by the environment, and with words for what a launcher may do to it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from fedtrack.client.backend import BACKEND_VARIABLE
from fedtrack.errors import ConfigError
from fedtrack_local.scripts.membership import publish, read_spec
from fedtrack_local.scripts.variables import NOT_INHERITED, SPEC_VARIABLE
from support.site_processes import site_spec


def test_a_published_spec_is_found_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (SPEC_VARIABLE, BACKEND_VARIABLE):
        monkeypatch.setenv(name, "before")
    spec = site_spec(tmp_path, "", secret="ab" * 32)
    publish(spec)
    assert read_spec(os.environ) == spec
    assert Path(os.environ[SPEC_VARIABLE]).stat().st_mode & 0o777 == 0o600
    assert "ab" * 32 not in os.environ.values()
    assert os.environ[BACKEND_VARIABLE] != "before"


@pytest.mark.parametrize("environment", [{}, {SPEC_VARIABLE: "/nothing/here.json"}])
def test_a_spec_that_is_not_there_is_said_with_what_a_launcher_must_do(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="a launcher must pass on FEDTRACK_CLIENT_BACKEND and FEDTRACK_SITE_SPEC"):
        read_spec(environment)


def test_a_spec_of_another_version_is_said(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text(json.dumps({**msgspec.to_builtins(site_spec(tmp_path, "")), "colour": "red"}))
    with pytest.raises(ConfigError, match=r"another version of fedtrack .*use the Python environment of the run"):
        read_spec({SPEC_VARIABLE: str(path)})


def test_a_run_inside_a_site_or_below_a_launcher_does_not_inherit_its_place() -> None:
    assert {BACKEND_VARIABLE, SPEC_VARIABLE, "RANK", "LOCAL_RANK", "WORLD_SIZE"} <= NOT_INHERITED
