"""ConfigFile: one file, whose every key is known, found in one order."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.config_file import CONFIG_VARIABLE, read_config
from fedtrack.errors import ConfigError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv(CONFIG_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))


def written(path: Path, port: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[collect]\nport = {port}\n")
    return path


def test_the_first_that_exists_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_config().collect.port is None
    written(tmp_path / "user" / "fedtrack" / "fedtrack.toml", 1)
    assert read_config().collect.port == 1
    written(tmp_path / "here" / "fedtrack.toml", 2)
    assert read_config().collect.port == 2
    monkeypatch.setenv(CONFIG_VARIABLE, str(written(tmp_path / "named.toml", 3)))
    assert read_config().collect.port == 3
    assert read_config(written(tmp_path / "chosen.toml", 4)).collect.port == 4


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "fedtrack.toml"
    path.parent.mkdir()
    path.write_text('[collect]\nfolder = "data"\ntls_cert = "/abs/cert.pem"\n[[collect.receivers]]\nname = "mlflow"\n')
    found = read_config(path).collect
    assert (found.folder, found.tls_cert) == (str(tmp_path / "etc" / "data"), "/abs/cert.pem")
    assert found.receivers is not None
    assert [one.name for one in found.receivers] == ["mlflow"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[collect]\nprot = 1\n", "prot"),
        ("[colect]\n", "colect"),
        ("[collect]\nport = '1'\n", "port"),
        ("[[collect.receivers]]\n", "name"),
        ("port = = 1\n", "not valid"),
        ("\xff", "not valid"),
    ],
)
def test_what_is_not_valid_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "fedtrack.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=words):
        read_config(path)


def test_a_chosen_file_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_config(tmp_path / "nowhere.toml")
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigError, match="does not exist"):
        read_config()
