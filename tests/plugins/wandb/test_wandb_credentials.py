"""Which W&B server is used, and whether there is a key for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack import Transient
from fedtrack_wandb import credentials


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    return tmp_path


def test_the_environment_wins_over_the_login(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (config / "settings").write_text("[default]\nbase_url = https://wandb.example/\n")
    assert credentials.base_url() == "https://wandb.example"
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9/")
    assert credentials.base_url() == "http://127.0.0.1:9"


@pytest.mark.parametrize("content", ["", "no section", "[default]\nmode = offline\n"])
def test_the_public_service_is_the_default(config: Path, content: str) -> None:
    (config / "settings").write_text(content)
    assert credentials.base_url().startswith("https://api.")


@pytest.mark.parametrize("name", ["WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"])
def test_the_environment_may_hold_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    credentials.require("https://wandb.example")


def test_a_netrc_file_counts_for_its_hosts_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine wandb.example login user password " + "k" * 40 + "\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    credentials.require("https://wandb.example")
    with pytest.raises(Transient, match=r"no credentials for https://other\.example: set WANDB_API_KEY"):
        credentials.require("https://other.example")
