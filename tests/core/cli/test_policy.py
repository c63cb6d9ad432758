"""``fedtrack policy``: what an officer reads of a policy, and of what was let out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError, DamagedError
from fedtrack.policy.policy import digest
from fedtrack.seals.release_log import Line, Released, ReleaseLog
from fedtrack.seals.site_key import SiteKey
from support.command_line import fedtrack

POLICY = b'{"allow": [{"key": "val/*", "every": "round", "clip": [0, 1], "sig": 2, "min_n": 200}], "params": ["lr"]}'


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.json"
    path.write_bytes(POLICY)
    return path


def test_check_says_what_is_released(policy: Path) -> None:
    said = fedtrack("policy", "check", str(policy))
    assert digest(POLICY) in said
    assert (
        "val/*: the first value of each round, clipped to 0 to 1, 2 significant digits, only of 200 samples or more"
        in said
    )
    assert "params: lr" in said
    assert "images: none" in said


def test_check_refuses_what_would_release_nothing_by_mistake(policy: Path) -> None:
    policy.write_bytes(b'{"alow": []}')
    with pytest.raises(ConfigError, match="alow"):
        fedtrack("policy", "check", str(policy))


def test_explain_names_the_rule_and_the_stricter_policy_of_a_job(policy: Path, tmp_path: Path) -> None:
    said = fedtrack("policy", "explain", str(policy), "--key", "val/auc")
    assert "rule val/*" in said
    assert "metric val/auc: released" in said
    assert "no rule allows" in fedtrack("policy", "explain", str(policy), "--key", "age")
    job = tmp_path / "job.json"
    job.write_bytes(b"{}")
    said = fedtrack("policy", "explain", str(policy), "--key", "val/auc", "--job", str(job))
    assert "metric val/auc: withheld" in said


def test_the_schema_is_json() -> None:
    assert json.loads(fedtrack("policy", "schema"))["title"] == "fedtrack policy"


@pytest.mark.parametrize("signed", [False, True])
def test_log_shows_counts_and_notices_a_change(tmp_path: Path, signed: bool) -> None:
    path = tmp_path / "site" / "release_log.jsonl"
    key = SiteKey.of(tmp_path / "k.pem") if signed else None
    log = ReleaseLog(path, "site-1", "run", "sha256:ab", key)
    for number in (1, 2):
        released = [Released("metric", "val/auc", 1, number)]
        log.write(Line(stream="0" * 32, first=number, last=number, round=number, head="00", released=released))
    log.write(Line(stream="0" * 32, first=3, last=4, head="00", refused=2))
    log.close()
    said = fedtrack("policy", "log", str(path.parent))
    assert ("signed by ed25519:" in said) is signed
    assert "val/auc" in said
    with pytest.raises(ConfigError, match="no release log of other"):
        fedtrack("policy", "log", str(path), "--site", "other")
    path.write_bytes(path.read_bytes().replace(b'"round":1', b'"round":2'))
    with pytest.raises(DamagedError, match="was changed"):
        fedtrack("policy", "log", str(path))
