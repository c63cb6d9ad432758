"""Policy: the file, its errors, and its schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.policy.policy import CLOSED, KINDS, Policy, Rule, decode, digest, of_job, read, schema

EXAMPLE = b"""{"version": 1, "default": "deny",
 "allow": [{"key": "train/loss", "every": "round", "clip": [0, 10], "sig": 3, "min_n": 50}],
 "text": "deny", "params": ["lr", "batch_size"], "system": "deny"}"""

TOML = b"""
default = "deny"
params = ["lr", "batch_size"]
text = "deny"
system = "deny"
[[allow]]
key = "train/loss"
every = "round"
clip = [0, 10]
sig = 3
min_n = 50
"""


def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(EXAMPLE)
    policy, sha256 = read(path)
    assert policy == decode(TOML, "policy.toml")
    assert policy.allow == [Rule("train/loss", "round", (0.0, 10.0), 3, 50)]
    assert sha256 == digest(EXAMPLE)
    assert (policy.allows("params", "lr"), policy.allows("params", "seed"), policy.allows("images", "x")) == (
        True,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (b"", "not valid"),
        (b"[]", "not valid"),
        (b'{"allwo": []}', "allwo"),
        (b'{"version": 2}', "version"),
        (b'{"allow": [{"key": ""}]}', "key"),
        (b'{"allow": [{"key": "a", "clip": [1, 0]}]}', "clip"),
        (b'{"allow": [{"key": "a", "clip": [0, 1e999]}]}', "not valid"),
        (b'{"allow": [{"key": "a", "every": 0}]}', "every"),
        (b'{"allow": [{"key": "a", "every": "epoch"}]}', "every"),
        (b'{"allow": [{"key": "a", "sig": 0}]}', "sig"),
        (b'{"text": "maybe"}', "text"),
        (b"\xff", "not valid"),
        (b"[" * 100_000, "not valid"),
        (b" " * 2_000_000, "bytes"),
    ],
)
def test_an_invalid_policy_is_refused_in_one_sentence(text: bytes, part: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=part) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_no_field_means_that_nothing_is_released() -> None:
    assert Policy() == CLOSED == decode(b"{}", "x.json")
    assert CLOSED.rule("loss") is None
    assert not any(CLOSED.allows(kind, "x") for kind in KINDS)


def test_a_job_gives_a_dict_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(EXAMPLE)
    assert of_job(str(path)) == of_job(read(path)[0])
    assert of_job({"params": "allow"}) == Policy(params="allow")
    assert of_job(None) is None
    for wrong in ({"parms": "allow"}, {1: 2}):
        with pytest.raises(ConfigError, match="policy"):
            of_job(wrong)  # type: ignore[arg-type]


def test_the_schema_has_every_field() -> None:
    found = schema()
    assert set(found["$defs"]["Policy"]["properties"]) == {"version", "default", "allow", *KINDS}
