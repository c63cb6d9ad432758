"""Outbox: where records lie until they have arrived, and who may read them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fedtrack.connection.outbox import OUTBOX_VARIABLE, Outbox, Shipped, Target, default_folder
from fedtrack.errors import DamagedError, WorkspaceError

TARGET = Target("https://collector:8443", "study-7")


def test_a_run_is_found_again(tmp_path: Path) -> None:
    box = Outbox(tmp_path).run(TARGET)
    box.site("hospital-a")
    (found,) = Outbox(tmp_path).runs()
    assert found.target == TARGET
    assert [one.site for one in found.sites()] == ["hospital-a"]
    assert Outbox(tmp_path).run(TARGET) == found


def test_two_collectors_do_not_share_a_folder(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert outbox.run(TARGET) != outbox.run(Target("https://other:8443", "study-7"))


def test_the_token_is_for_its_user_only(tmp_path: Path) -> None:
    site = Outbox(tmp_path).run(TARGET).site("hospital-a")
    assert site.token == ""
    site.keep_token("ft_1_x")
    assert site.token == "ft_1_x"  # noqa: S105
    assert stat.S_IMODE((site.folder / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(site.spool.stat().st_mode) == 0o700
    site.forget_token()
    assert site.token == ""


def test_what_the_agent_said_is_read(tmp_path: Path) -> None:
    site = Outbox(tmp_path).run(TARGET).site("hospital-a")
    assert site.shipped() == Shipped()
    site.tell(Shipped(waiting="503: full"))
    assert site.shipped().waiting == "503: full"
    (site.folder / "status.json").write_text("{")
    assert site.shipped() == Shipped()


def test_a_damaged_target_is_named(tmp_path: Path) -> None:
    box = Outbox(tmp_path).run(TARGET)
    (box.folder / "target.json").write_text("{")
    with pytest.raises(DamagedError, match=r"target\.json"):
        _ = box.target


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match=OUTBOX_VARIABLE):
        Outbox(tmp_path / "file" / "below").run(TARGET)


def test_the_place_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(OUTBOX_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "fedtrack" / "outbox"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".local" / "state" / "fedtrack" / "outbox"
    monkeypatch.setenv(OUTBOX_VARIABLE, str(tmp_path / "chosen"))
    assert default_folder() == tmp_path / "chosen"


def test_a_site_is_forgotten_and_no_other(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for address in ("https://a:1", "https://b:1"):
        for run in ("study-7", "study-8"):
            for site in ("hospital-a", "hospital-b"):
                outbox.run(Target(address, run)).site(site).keep_token("ft_x")
    assert outbox.forget("study-7", "hospital-a") == 2
    left = {(box.folder.name, site.site) for box in outbox.runs() for site in box.sites()}
    assert left == {("study-7", "hospital-b"), ("study-8", "hospital-a"), ("study-8", "hospital-b")}
