"""Calls: the page says which call is in flight, also after the death of the process that wrote it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fedtrack.delivery.calls import Call, CallPage, CallRecorder, CallState


def test_a_call_is_on_the_page_until_it_ends() -> None:
    page = CallPage.create(2)
    calls = CallRecorder(lambda state: page.write(1, state))
    with calls.during(Call.RECEIVE, batch=3, seq=4, events=5):
        found = page.read(1)
        assert (found.call, found.batch, found.seq, found.events) == (Call.RECEIVE, 3, 4, 5)
        assert found.started_ns > 0
    calls.moved(accepted=5, tried=True)
    calls.moved(accepted=2)
    assert page.read(1)._replace(started_ns=0) == CallState(Call.NONE, 0, 3, 4, 5, 2, 7, 1)
    assert page.read(0) == CallState()
    assert page.places == 2
    page.close()


def test_a_call_that_raises_has_ended() -> None:
    calls = CallRecorder()
    with pytest.raises(RuntimeError), calls.during(Call.OPEN):
        raise RuntimeError
    assert calls.state.call == Call.NONE


def test_the_page_of_a_process_that_died_in_a_call_names_it() -> None:
    page = CallPage.create(1)
    script = """
import os, sys
from fedtrack.delivery.calls import Call, CallPage, CallRecorder
page = CallPage(int(sys.argv[1]))
page.beat()
calls = CallRecorder(lambda state: page.write(0, state))
with calls.during(Call.FLUSH):
    os.kill(os.getpid(), 9)
"""
    os.set_inheritable(page.descriptor, True)
    subprocess.run([sys.executable, "-c", script, str(page.descriptor)], close_fds=False, check=False)
    assert Call(page.read(0).call).method == "flush"
    assert page.last_beat_ns() > 0
    page.close()
