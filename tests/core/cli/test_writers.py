"""``fedtrack writers list``: the line that a script needs, and what to do about writers that are not there."""

from __future__ import annotations

import json

import pytest

from fedtrack import plugins
from support.command_line import fedtrack


def test_the_import_that_is_shown_works() -> None:
    rows = json.loads(fedtrack("writers", "list", "--json"))
    assert {row["name"] for row in rows} >= {"mlflow", "tensorboard", "wandb"}
    for row in rows:
        found: dict[str, type] = {}
        exec(row["import"], found)  # noqa: S102 - what users are told to type
        (cls,) = (value for name, value in found.items() if name != "__builtins__")
        assert vars(cls)["name"] == row["name"]


def test_writers_that_are_disabled_are_listed_with_what_enables_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDTRACK_PLUGINS", "local")
    plugins.unload()
    try:
        rows = json.loads(fedtrack("writers", "list", "--json"))
    finally:
        monkeypatch.undo()
        plugins.unload()
    assert {row["state"] for row in rows} == {"disabled"}
    assert all("FEDTRACK_PLUGINS" in row["remedy"] for row in rows)
