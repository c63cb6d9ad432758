"""The POC system that the contract runs on."""

from __future__ import annotations

from support.nvflare_poc import Poc


def test_everything_listens_on_loopback_only(poc: Poc) -> None:
    assert len(poc.pids()) >= 3
    assert poc.listening() == {"127.0.0.1"}
