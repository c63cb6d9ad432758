"""Settings: a collector does not start where tokens would cross a network in clear, or a journal would be damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedtrack.collector import settings as module
from fedtrack.collector.settings import Settings, is_loopback
from fedtrack.errors import ConfigError


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "cert.pem"
    path.write_text("x")
    return path


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
@pytest.mark.threat("T11")
def test_loopback_needs_no_encryption(tmp_path: Path, host: str) -> None:
    Settings(tmp_path, host=host).check()
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "collector", "127.0.0.1.example.org", ""])  # noqa: S104
def test_anything_else_does(tmp_path: Path, host: str, pem: Path) -> None:
    with pytest.raises(ConfigError, match="without encryption"):
        Settings(tmp_path, host=host).check()
    Settings(tmp_path, host=host, tls_cert=pem).check()
    Settings(tmp_path, host=host, trusted_proxy="10.0.0.7").check()


def test_a_unix_socket_needs_none(tmp_path: Path) -> None:
    Settings(tmp_path, host="0.0.0.0", socket=str(tmp_path / "s")).check()  # noqa: S104


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"port": -1}, "--port is -1"),
        ({"port": 70_000}, "--port is 70000"),
        ({"tls_key": Path("k")}, "without --tls-cert"),
        ({"tls_cert": Path("/nowhere.pem")}, "there is no file"),
        ({"trusted_proxy": "proxy.example.org"}, "IP address"),
        ({"idle_minutes": 0}, "--idle-minutes"),
        ({"keep_days": -1}, "--keep-days"),
        ({"max_bytes": 10}, "--max-bytes"),
    ],
)
def test_what_is_not_valid_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Settings(tmp_path, **changes).check()


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p"])
def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(module, "kind_of", lambda path: kind)
    with pytest.raises(ConfigError, match=f"on {kind}, a network file system"):
        Settings(tmp_path).check()


def test_names_are_checked_where_no_certificate_does_it(tmp_path: Path, pem: Path) -> None:
    assert Settings(tmp_path, tls_cert=pem).hosts is None
    assert Settings(tmp_path, server_name="Collector.example.org").hosts == {
        "localhost",
        "127.0.0.1",
        "::1",
        "collector.example.org",
    }
