"""LedgerLock: one holder at a time, and it is named; a holder that is about to end is waited for."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fedtrack.delivery.ledger_lock import LOCK_FILE, LedgerLock
from fedtrack.errors import WorkspaceError
from fedtrack.runs.child_run import holder


def test_one_holder_at_a_time_which_others_can_name(tmp_path: Path) -> None:
    path = tmp_path / LOCK_FILE
    lock = LedgerLock(path)
    assert holder(path) == os.getpid()
    with pytest.raises(WorkspaceError, match=f"the process {os.getpid()} delivers from this journal; wait for it"):
        LedgerLock(path)
    lock.close()
    assert holder(path) is None
    LedgerLock(path).close()


def test_a_holder_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    first = LedgerLock(tmp_path / LOCK_FILE)
    threading.Timer(0.2, first.close).start()
    LedgerLock(tmp_path / LOCK_FILE, patience=30.0).close()
