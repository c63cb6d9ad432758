"""A site whose process sends an invalid message fails at once and by name, and no other site is affected."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .conftest import MakeJob

SEND = """
from fedtrack.client import backend
channel = backend.current()._channel
if flare.get_site_name() == "site-1":
    SENDING
    import time; time.sleep(600)
"""


@pytest.mark.parametrize(
    "sending",
    [
        "channel.send_bytes(b'\\xff' * 1000)",
        "channel.send_bytes(b'')",
        "channel.send_bytes(b'\\x81\\xa4t\\xff\\xbepe\\xa4left')",
        "import os; os.write(channel.fileno(), b'\\x7f\\xff\\xff\\xff')",
        "import os; os.write(channel.fileno(), b'\\xff' * 64)",
        "import struct, os; os.write(channel.fileno(), struct.pack('!iQ', -1, 2**63))",
        "import os; os.write(channel.fileno(), b'\\0\\0\\0\\x64' + b'only a part')",
    ],
    ids=[
        "garbage",
        "nothing",
        "no UTF-8",
        "2 GB announced",
        "negative length",
        "8 EB announced",
        "stops in the middle",
    ],
)
@pytest.mark.threat("T2")
def test_garbage_on_the_channel_ends_that_site_and_no_other(
    make_job: MakeJob, tmp_path: Path, sending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedtrack_local.processes.sites._MESSAGE_SECONDS", 1)
    begun = time.monotonic()
    result = make_job(SEND.replace("SENDING", sending), min_clients=1, idle_timeout=60.0).simulator_run(tmp_path / "ws")
    assert time.monotonic() - begun < 30
    assert result.status == "completed"
    assert [r.sites for r in result.rounds] == [["site-2"], ["site-2"]]
    assert "site-1" in result.sites["site-1"].error
    assert result.sites["site-1"].journaled == 50  # what it had logged before
    assert result.sites["site-2"].journaled == 100
