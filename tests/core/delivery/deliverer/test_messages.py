"""Messages: what one end of a channel sends is what the other one gets, whatever the pieces in which it comes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from fedtrack.delivery.deliverer.messages import Channel, Drain, Logged, Said, Wake, facts_of, spec_of
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.receiver import RunInfo
from fedtrack_tensorboard import TBAnalyticsReceiver


def pair() -> tuple[Channel, Channel]:
    ours, theirs = socket.socketpair()
    return Channel(ours), Channel(theirs)


def test_messages_arrive_in_order_and_whole() -> None:
    ours, theirs = pair()
    sent = [Drain("completed"), Logged(30, "fedtrack", "x" * 100_000), Said("a", "error", over=True), Wake()]
    for message in sent[:1] + sent[2:]:
        ours.send(message)
    ours.wake()
    found = []
    while len(found) < 4:
        found += theirs.receive()
    assert found == [sent[0], sent[2], sent[3], Wake()]
    ours.close()
    with pytest.raises(EOFError):
        theirs.receive()
    theirs.send(Wake())  # nobody reads it, and nothing happens
    theirs.close()


def test_a_descriptor_comes_with_its_message(tmp_path: Path) -> None:
    ours, theirs = pair()
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    ours.send(Drain("failed"), file)
    assert theirs.receive() == [Drain("failed")]
    (descriptor,) = theirs.descriptors
    assert os.fstat(descriptor).st_ino == os.fstat(file).st_ino
    for number in (file, descriptor):
        os.close(number)
    ours.close()
    theirs.close()


def test_a_wake_up_never_waits_for_a_process_that_does_not_read() -> None:
    ours, theirs = pair()
    for _ in range(200_000):
        ours.wake()
    assert theirs.receive()[0] == Wake()
    ours.close()
    theirs.close()


def test_a_run_and_a_receiver_are_the_same_at_the_other_end(tmp_path: Path) -> None:
    run = RunInfo("r", "job", tmp_path, "server", ("a", "b"), 7, BlobStore(tmp_path / "blobs"))
    again = facts_of(run).run()
    assert (again.run_id, again.sites, again.folder, again.blobs.folder) == (
        "r",
        ("a", "b"),
        tmp_path,
        run.blobs.folder,
    )
    receiver = TBAnalyticsReceiver("events")
    assert TBAnalyticsReceiver(**spec_of("board", receiver).args).options == receiver.options


@pytest.mark.threat("T8")
def test_references_travel_instead_of_secrets() -> None:
    receiver = TBAnalyticsReceiver("resolved")
    receiver.arguments_as_written = {"tb_folder": "${ENV:FOLDER}"}
    assert spec_of("board", receiver).args == {"tb_folder": "${ENV:FOLDER}"}
