"""Tokens: a secret is shown once, stored as a hash, and says which site and which runs it is for."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.collector import tokens as module
from fedtrack.collector.tokens import TOKENS_FILE, Tokens
from fedtrack.errors import ConfigError, DamagedError


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens(tmp_path / "collector")


@pytest.mark.threat("T8", "T11")
def test_a_token_is_found_and_its_secret_is_in_no_file(tokens: Tokens, tmp_path: Path) -> None:
    token = tokens.add("hospital-a", runs="study-*")
    found = tokens.find(token)
    assert found is not None
    assert (found.site, found.runs, found.is_pattern) == ("hospital-a", "study-*", False)
    file = tmp_path / "collector" / TOKENS_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = token.split("_", 2)[2]
    for path in (tmp_path / "collector").iterdir():
        assert secret.encode() not in path.read_bytes()


@pytest.mark.parametrize("change", ["secret", "id", "prefix", "empty", "half"])
@pytest.mark.threat("T11")
def test_another_secret_is_refused(tokens: Tokens, change: str) -> None:
    token = tokens.add("hospital-a")
    prefix, id_, secret = token.split("_", 2)
    wrong = {
        "secret": f"{prefix}_{id_}_{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}",
        "id": f"{prefix}_{'0' * len(id_)}_{secret}",
        "prefix": f"xx_{id_}_{secret}",
        "empty": "",
        "half": f"{prefix}_{id_}_",
    }[change]
    assert tokens.find(wrong) is None


def test_a_pattern_speaks_for_the_sites_and_runs_that_it_matches(tokens: Tokens) -> None:
    found = tokens.find(tokens.add("hospital-*", runs="study-7"))
    assert found is not None
    assert found.is_pattern
    assert found.allows_site("hospital-b")
    assert not found.allows_site("clinic-b")
    assert found.allows_run("study-7")
    assert not found.allows_run("study-70")


def test_a_reader_writes_nothing(tokens: Tokens) -> None:
    found = tokens.find(tokens.add("prometheus", reads=True))
    assert found is not None
    assert not found.allows_run("study-7")
    assert not found.allows_site("prometheus")


def test_a_token_expires(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tokens.add("hospital-a", days=2)
    now = module.time()
    monkeypatch.setattr(module, "time", lambda: now + 86_400)
    assert tokens.find(token) is not None
    monkeypatch.setattr(module, "time", lambda: now + 2 * 86_400 + 5)
    assert tokens.find(token) is None
    assert [one.state(module.time()) for one in tokens.all()] == ["expired"]


def test_a_running_collector_sees_what_another_process_changes(tokens: Tokens, tmp_path: Path) -> None:
    token = tokens.add("hospital-a")
    assert tokens.find(token) is not None
    revoke = "import sys; from pathlib import Path; from fedtrack.collector.tokens import Tokens\n"
    revoke += "Tokens(Path(sys.argv[1])).revoke('hospital-a')"
    subprocess.run([sys.executable, "-c", revoke, str(tmp_path / "collector")], check=True, timeout=60)
    assert tokens.find(token) is None
    assert [one.state(0) for one in tokens.all()] == ["revoked"]


def test_many_processes_add_at_once_and_none_is_lost(tokens: Tokens, tmp_path: Path) -> None:
    add = "import sys; from pathlib import Path; from fedtrack.collector.tokens import Tokens\n"
    add += "[Tokens(Path(sys.argv[1])).add(f'site-{sys.argv[2]}-{n}') for n in range(10)]"
    command = [sys.executable, "-c", add, str(tmp_path / "collector")]
    running = [subprocess.Popen([*command, str(n)]) for n in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len({one.site for one in tokens.all()}) == 40


@pytest.mark.parametrize(
    ("site", "options"),
    [("", {}), ("../x", {}), ("a/b", {}), ("server", {}), ("a", {"runs": ""}), ("a", {"days": 0}), ("a", {"days": -1})],
)
def test_what_is_not_valid_is_refused(tokens: Tokens, site: str, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        tokens.add(site, **options)  # type: ignore[arg-type]
    assert tokens.all() == []


def test_revoking_nobody_says_so(tokens: Tokens) -> None:
    with pytest.raises(ConfigError, match="'nobody' has no valid token"):
        tokens.revoke("nobody")


def test_a_damaged_file_lets_nobody_in_and_is_named(tokens: Tokens, tmp_path: Path) -> None:
    token = tokens.add("hospital-a")
    (tmp_path / "collector" / TOKENS_FILE).write_text("{")
    with pytest.raises(DamagedError, match="not a list of tokens"):
        tokens.find(token)
    with pytest.raises(DamagedError):
        tokens.add("hospital-b")


def test_a_link_is_not_followed(tokens: Tokens, tmp_path: Path) -> None:
    tokens.add("hospital-a")
    target = tmp_path / "elsewhere"
    lock = tmp_path / "collector" / f".{TOKENS_FILE}.lock"
    lock.unlink()
    lock.symlink_to(target)
    with pytest.raises(Exception, match="cannot be written"):
        tokens.add("hospital-b")
    assert not target.exists()
