"""Config files: secrets stay out of them and out of every message, and a mistake is named with file and place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError
from fedtrack.job.config import Meta, ServerConfig, read_json, write_json
from fedtrack.job.references import refuse_secrets, resolve_references

SECRET = "hunter2-do-not-print"  # noqa: S105

KEYS = ["api_key", "apikey", "API_KEY", "wandb_api_key", "access_key", "secret", "client_secret", "token", "password"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"deep": {"password": v}}])
@pytest.mark.threat("T8")
def test_a_secret_is_refused_wherever_it_stands_and_never_shown(key: str, wrap: Any) -> None:
    with pytest.raises(ConfigError, match=r"args.*\.\w+.* holds a secret; write \$\{ENV:NAME\} instead") as caught:
        refuse_secrets({"outer": {key: wrap(SECRET)}}, "args")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["postgresql://me:{}@host/db", "http://:{}@host", "mysql+pymysql://me:{}@host:3306/db?x=1"]
)
def test_a_password_in_an_address_is_one(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^args\.tracking_uri holds a secret") as caught:
        refuse_secrets({"tracking_uri": url.format(SECRET)}, "args")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        {"api_key": "${ENV:WANDB_API_KEY}"},
        {"uri": "postgresql://me:${ENV:DB_PASSWORD}@host/db"},
        {"uri": "http://host:5000/path@2"},
        {"uri": "s3://bucket/a:b@c"},
        {"api_key": ""},
        {"token_count": "5", "tokens": "many", "secretary": "Ann", "monkey": "x"},
        {"password": None, "token": 5},
    ],
)
def test_what_is_no_secret_may_stand(value: dict[str, Any]) -> None:
    refuse_secrets(value, "args")


def test_references_are_replaced_everywhere_and_nothing_else_is() -> None:
    value = {"uri": "http://${ENV:USER_}:${ENV:PASS_1}@h", "n": 5, "list": ["${ENV:USER_}", None, "$USER_ ${env:X}"]}
    found = resolve_references(value, {"USER_": "me", "PASS_1": "${ENV:USER_}"}, "args")
    # What a variable holds is a value, and is not looked into again.
    assert found == {"uri": "http://me:${ENV:USER_}@h", "n": 5, "list": ["me", None, "$USER_ ${env:X}"]}


def test_a_variable_that_is_not_set_is_named_with_its_place_and_no_other_value() -> None:
    value = {"deep": [{"key": "${ENV:KNOWN}${ENV:MISSING}"}]}
    with pytest.raises(ConfigError, match=r"^args\.deep\[0\]\.key needs the environment variable MISSING") as caught:
        resolve_references(value, {"KNOWN": SECRET}, "args")
    assert SECRET not in str(caught.value)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v, max_size=3),
        max_leaves=5,
    )
)
def test_what_holds_no_reference_stays_as_it_is(value: Any) -> None:
    if "${ENV:" not in json.dumps(value):
        assert resolve_references(value, {}, "args") == value


META = {"name": "j", "deploy_map": {"app": ["server", "site-1"]}}


def meta(folder: Path, content: str | dict[str, Any]) -> Meta:
    path = folder / "meta.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_json(path, Meta)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "meta.json: Input data was truncated."),
        ("", "meta.json: Input data was truncated."),
        ({"name": "j"}, "missing required field `deploy_map`"),
        (META | {"colour": "red"}, "unknown field `colour`"),
        (META | {"min_clients": "two"}, r"Expected `int | null`, got `str` - at `$.min_clients`"),
        (META | {"durability": "tape"}, "Invalid enum value 'tape' - at `$.durability`"),
        (META | {"spool_limit": 1}, "- at `$.spool_limit`"),
        (META | {"format_version": 3}, "$.format_version is 3; this version of fedtrack reads up to 2."),
        (META | {"format_version": 1}, "$.format_version is 1; this version of fedtrack reads 2."),
        ('{"name": "a", "name": "b", "deploy_map": {"app": ["server", "x"]}}', "the key 'name' is there twice"),
        (META | {"min_clients": 2}, "meta.json: $.min_clients is 2, but the job has 1 sites"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_place(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        meta(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "meta.json"))
    assert message in str(caught.value)


def test_text_that_no_person_would_see_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_bytes(b'{"name": "\xff"}')
    with pytest.raises(ConfigError, match=r"meta\.json: 'utf-8' codec can't decode"):
        read_json(tmp_path / "meta.json", Meta)
    config = {"format_version": 2, "workflows": [{"id": "a", "path": "b", "args": {"x": "c\0d"}}]}
    (tmp_path / "server.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"server\.json: 'x' has a NUL character"):
        read_json(tmp_path / "server.json", ServerConfig)


def test_a_file_that_is_too_deep_to_be_read_is_named(tmp_path: Path) -> None:
    deep = '{"format_version": 2, "workflows": [], "components": [{"id": "a", "path": "b", "args": {"x": DEEP}}]}'
    (tmp_path / "server.json").write_text(deep.replace("DEEP", "[" * 100_000 + "]" * 100_000))
    with pytest.raises(ConfigError, match=r"server\.json has lists or objects in each other, too deep to be read"):
        read_json(tmp_path / "server.json", ServerConfig)


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "meta.json").open("wb") as file:
        file.truncate(65 * 1024 * 1024)
    with pytest.raises(ConfigError, match=r"meta\.json has 68,157,440 bytes; a file of a job has at most"):
        read_json(tmp_path / "meta.json", Meta)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"meta\.json cannot be read: No such file or directory\."):
        read_json(tmp_path / "meta.json", Meta)


def test_what_is_written_is_read_and_can_be_edited_by_hand(tmp_path: Path) -> None:
    found = ServerConfig(2, [], [])
    write_json(tmp_path / "config" / "server.json", found)
    assert read_json(tmp_path / "config" / "server.json", ServerConfig) == found
    text = (tmp_path / "config" / "server.json").read_text()
    assert text.startswith('{\n    "format_version": 2,')
    assert text.endswith("}\n")
