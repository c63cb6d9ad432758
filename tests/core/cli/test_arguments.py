"""``--args`` follows the rules of a job: JSON, references to the environment, and no secret that is written out."""

from __future__ import annotations

import pytest

from fedtrack.cli.arguments import resolved_arguments, written_arguments
from fedtrack.errors import ConfigError


def test_references_are_resolved_where_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE", "db-1")
    written = written_arguments('{"uri": "http://${ENV:DATABASE}/", "names": ["${ENV:DATABASE}", 3]}')
    assert written["uri"] == "http://${ENV:DATABASE}/"
    assert resolved_arguments(written) == {"uri": "http://db-1/", "names": ["db-1", 3]}


@pytest.mark.parametrize("text", ["{", "[]", "3", '"text"', '{"password": "hunter2"', "{'a': 1}"])
def test_what_is_no_json_object_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--args is no JSON object: .*; write it as") as refused:
        written_arguments(text)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ['{"password": "hunter2"}', '{"uri": "http://me:hunter2@host"}'])
def test_a_secret_that_is_written_out_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--args\.\w+ holds a secret; write \$\{ENV:NAME\} instead") as refused:
        written_arguments(text)
    assert "hunter2" not in str(refused.value)


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(ConfigError, match="needs the environment variable NO_SUCH_VARIABLE, which is not set"):
        resolved_arguments({"a": "${ENV:NO_SUCH_VARIABLE}"})
