"""Address: a token goes to https, to this machine, or nowhere."""

from __future__ import annotations

import pytest

from fedtrack.errors import ConfigError
from fedtrack.transport.address import Address


@pytest.mark.parametrize(
    ("text", "url", "socket"),
    [
        ("https://collector:8443", "https://collector:8443", ""),
        ("https://collector/track/", "https://collector/track", ""),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", ""),
        ("http://127.0.0.1:1", "http://127.0.0.1:1", ""),
        ("http://[::1]:1", "http://[::1]:1", ""),
        ("http://localhost:1", "http://localhost:1", ""),
        ("unix:///run/fedtrack.sock", "http://localhost", "/run/fedtrack.sock"),
    ],
)
def test_it_is_taken(text: str, url: str, socket: str) -> None:
    assert Address.of(text) == Address(url, socket)


@pytest.mark.parametrize(
    "text",
    [
        "http://collector:8443",
        "http://127.0.0.1.example.org",
        "http://localhost.example.org",
        "ftp://collector",
        "https://",
        "https://collector:99999",
        "https://collector:0",
        "unix://relative",
        "https://[::1",
    ],
)
def test_it_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="address"):
        Address.of(text)


@pytest.mark.parametrize("text", ["https://user:pw-7@collector", "https://collector/?token=pw-7", "https://c/#pw-7"])
@pytest.mark.threat("T8")
def test_a_secret_in_it_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="FEDTRACK_TOKEN") as caught:
        Address.of(text)
    assert "pw-7" not in str(caught.value)
