"""The receiver changes settings of mlflow during its calls, and restores them afterwards."""

from __future__ import annotations

import threading

from fedtrack_mlflow.settings import calm


def test_settings_are_restored_when_the_last_of_several_threads_leaves() -> None:
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES as RETRIES

    with calm():
        pass
    before = RETRIES.default
    assert before > 0
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with calm():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with calm():
        thread.start()
        assert inside.wait(10)
    assert RETRIES.default == 0  # the other thread's call is not over
    leave.set()
    thread.join()
    assert RETRIES.default == before
