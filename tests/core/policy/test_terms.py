"""Terms: where the owner's policy is found, and what is refused; what cannot be used releases nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fedtrack.policy import run_terms, terms
from fedtrack.policy.policy import CLOSED, Policy
from fedtrack.policy.run_terms import RunTerms
from fedtrack.policy.terms import terms_of

OPEN = b'{"default": "allow"}'


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "owner" / "policy.json"
    path.parent.mkdir()
    path.write_bytes(OPEN)
    monkeypatch.setenv("FEDTRACK_POLICY", str(path))
    return path


def test_without_a_policy_there_are_no_terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDTRACK_POLICY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert terms_of("site-1") is None
    job = Policy(text="allow")
    found = terms_of("site-1", job=job)
    assert found is not None
    assert (found.policies, found.problem, found.shown) == ((job,), "", "the job's own")


def test_the_owners_policy_comes_first_and_is_named_by_its_hash(owner: Path) -> None:
    found = terms_of("site-1", job=CLOSED)
    assert found is not None
    assert found.policies == (Policy(default="allow"), CLOSED)
    assert found.shown.startswith("sha256:")
    assert found.changeable  # this user has written it


@pytest.mark.parametrize("damage", ["missing", "invalid", "folder", "in the workspace", "link into the workspace"])
def test_a_policy_that_cannot_be_used_releases_nothing_and_says_so(owner: Path, tmp_path: Path, damage: str) -> None:
    workspace = tmp_path / "ws"
    workspace.mkdir()
    if damage == "missing":
        owner.unlink()
    elif damage == "invalid":
        owner.write_bytes(b"{")
    elif damage == "folder":
        owner.unlink()
        owner.mkdir()
    elif damage == "in the workspace":
        workspace = tmp_path
    else:
        (workspace / "p.json").write_bytes(OPEN)
        owner.unlink()
        owner.symlink_to(workspace / "p.json")
    found = terms_of("site-1", job=Policy(default="allow"), workspace=workspace)
    assert found is not None
    assert found.policies[0] == CLOSED
    assert str(owner) in found.problem
    assert found.shown.startswith("releases nothing")
    assert found.gate().metric("loss", 1.0, None, 0) is None


@pytest.mark.parametrize(
    ("mode", "folder_mode", "changeable"),
    [(0o644, 0o755, False), (0o666, 0o755, True), (0o644, 0o777, True), (0o644, 0o1777, False)],
)
def test_another_users_policy_that_this_user_can_write_is_refused(
    owner: Path, monkeypatch: pytest.MonkeyPatch, mode: int, folder_mode: int, changeable: bool
) -> None:
    """The job's user is somebody else here, as far as the check can see."""
    owner.chmod(mode)
    owner.parent.chmod(folder_mode)
    monkeypatch.setattr(terms.os, "geteuid", lambda: os.getuid() + 4711)
    found = terms_of("site-1")
    assert found is not None
    assert bool(found.problem) is changeable
    assert not found.changeable
    owner.parent.chmod(stat.S_IRWXU)


def test_the_configuration_names_a_policy_relative_to_itself(
    owner: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FEDTRACK_POLICY")
    config = tmp_path / "fedtrack.toml"
    monkeypatch.setenv("FEDTRACK_CONFIG", str(config))
    config.write_text('[policy]\nfile = "owner/policy.json"\n')
    found = terms_of("site-1")
    assert found is not None
    assert found.path == str(owner)
    for wrong in ("[policy]\nfile = 3\n", "[policy", "policy = 1\n"):
        config.write_text(wrong)
        found = terms_of("site-1")
        assert found is not None
        assert found.problem


def test_a_file_in_the_current_folder_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FEDTRACK_POLICY", raising=False)
    monkeypatch.delenv("FEDTRACK_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "fedtrack.toml").write_text('[policy]\nfile = "policy.json"\n')
    monkeypatch.chdir(tmp_path)
    assert terms_of("site-1") is None


def test_sites_have_files_of_their_own(owner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDTRACK_POLICY", str(owner.parent / "{site}.json"))
    (owner.parent / "a.json").write_bytes(OPEN)
    (owner.parent / "b.json").write_bytes(b"{}")
    found = RunTerms.find(["a", "b", "c"])
    gates = [found.gate(site) for site in "abc"]
    assert [gate is not None and gate.metric("x", 1.0, None, 0) for gate in gates] == [1.0, None, None]


def test_the_terms_of_a_run_are_kept_and_nobody_loosens_them(owner: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = owner.parent
    first = RunTerms.find(["a", "b"]).kept(folder)
    assert run_terms.load(folder) == first
    monkeypatch.delenv("FEDTRACK_POLICY")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    assert RunTerms.find(["a", "b"]).kept(folder) == first
    (folder / run_terms.FILE).write_bytes(b"{")
    broken = run_terms.load(folder).of("a")
    assert broken is not None
    assert broken.problem
