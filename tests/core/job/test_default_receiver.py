"""The receiver that a job has without asking: TensorBoard's, or a warning that says how to have it."""

from __future__ import annotations

import logging

import pytest

from fedtrack import plugins
from fedtrack.job.default_receiver import default_receiver
from fedtrack.plugins import remedy


def test_tensorboard_shows_what_is_logged_at_a_site_and_what_has_crossed() -> None:
    receiver = default_receiver()
    assert receiver is not None
    assert receiver.name == "tensorboard"
    assert receiver.options.events == ["analytix_log_stats", "fed.analytix_log_stats"]


def test_without_it_a_job_goes_on_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FEDTRACK_DISABLE_PLUGINS", "tensorboard")
    plugins.unload()
    try:
        with caplog.at_level(logging.WARNING):
            assert default_receiver() is None
    finally:
        monkeypatch.undo()
        plugins.unload()
    assert "The receiver 'tensorboard' cannot be used" in caplog.text
    assert f"to have it: {remedy.install('fedtrack[tensorboard]')}" in caplog.text
