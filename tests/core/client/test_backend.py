"""The client's backend: how a script finds its job, and what it is told where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedtrack.client import api, backend
from fedtrack.errors import ConfigError

MODULE = """
from types import SimpleNamespace
calls = []
def join():
    calls.append(1)
    return SimpleNamespace(site_name="hospital-a")
"""


@pytest.fixture(autouse=True)
def _outside_a_job(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(backend.BACKEND_VARIABLE, raising=False)
    backend.use(None)
    yield
    backend.use(None)


@pytest.mark.parametrize("value", [None, "", "no_colon"])
def test_a_script_that_was_started_by_hand_is_told_how_to_start_it(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if value is not None:
        monkeypatch.setenv(backend.BACKEND_VARIABLE, value)
    with pytest.raises(ConfigError, match=r"does not belong to a fedtrack job; start the script .*fedtrack run JOB"):
        backend.current()


def test_the_backend_that_the_environment_names_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_engine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(backend.BACKEND_VARIABLE, "my_engine:join")
    first = backend.current()
    assert backend.current() is first
    assert first.site_name == "hospital-a"
    assert sys.modules.pop("my_engine").calls == [1]


@pytest.mark.parametrize(("rank", "number"), [(None, None), (0, 0), ("3", 3)], ids=["no rank", "a number", "a text"])
def test_a_backend_that_wants_the_rank_has_it_before_it_connects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int | str | None, number: int | None
) -> None:
    taking = MODULE.replace("def join():", "def join(rank):").replace("append(1)", "append(rank)")
    (tmp_path / "my_engine.py").write_text(taking)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(backend.BACKEND_VARIABLE, "my_engine:join")
    api.init(rank)
    api.init(rank)
    assert sys.modules.pop("my_engine").calls == [number]


def test_what_an_engine_set_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backend.BACKEND_VARIABLE, "no_such_module:join")
    chosen = object()
    backend.use(chosen)  # type: ignore[arg-type]
    assert backend.current() is chosen
