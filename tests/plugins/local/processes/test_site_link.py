"""The connections of a site's processes: who has the tasks, what the other ranks get, and what a restart changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from fedtrack_local.processes.joining import CommandEnded, Join, Joined, Next, Taken
from fedtrack_local.processes.messages import EndRun, SendResult, SendTask, SiteLeft, decode_to_site
from fedtrack_local.processes.parcels import ParcelConnection
from fedtrack_local.processes.site_link import SiteLink


class Process:
    """A process of the site: its end of a connection."""

    def __init__(self, link: SiteLink | None = None) -> None:
        self.server, self.own = ParcelConnection.pair()
        self.link = link
        if link is not None:
            link.add(self.server)

    def says(self, message: Any) -> Any:
        assert self.link is not None
        return self.link.take(self.server, message)

    def hears(self) -> list[Any]:
        heard = []
        while self.own.poll(0):
            heard.append(decode_to_site.decode(self.own.recv_bytes()))
        return heard

    def dies(self) -> None:
        self.own.close()

    def is_read(self) -> None:
        assert self.link is not None
        self.link.remove(self.server)


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    made: list[Process] = []
    yield made
    for process in made:
        for end in (process.server, process.own):
            if not end.closed:
                end.close()


@pytest.fixture
def link(processes: list[Process]) -> SiteLink:
    first = Process()
    processes.append(first)
    return SiteLink("site-1", first.server, direct=False)


def task(number: int) -> SendTask:
    return SendTask(number, "train", True, 0, number - 1, 9, {})


def result(number: int) -> SendResult:
    return SendResult(number, True, "FULL", None, {})


@pytest.fixture
def make(link: SiteLink, processes: list[Process]) -> Any:
    def start(rank: int | None = None, world: int = 1) -> Process:
        process = Process(link)
        processes.append(process)
        if rank is not None:
            assert process.says(Join(os.getpid() + rank, rank, world)) is None
        return process

    return start


def test_a_task_waits_for_who_joins_first_and_who_comes_later_is_told_who_that_is(link: SiteLink, make: Any) -> None:
    link.send(task(1))
    only_logs, leader = make(), make(0)
    assert leader.hears() == [Joined(), task(1)]
    assert only_logs.hears() == []
    assert make(0).hears() == [Taken(os.getpid())]
    assert leader.says(result(1)) == result(1)
    link.send(task(2))
    assert leader.hears() == [task(2)]


def test_an_answer_of_a_process_that_has_no_task_is_none(link: SiteLink, make: Any) -> None:
    link.send(task(1))
    leader, other = make(0), make()
    assert other.says(result(1)) is None
    left = SiteLeft(3, 0, ["ab"])
    assert other.says(left) == left  # what it has logged counts
    assert leader.says(result(1)) == result(1)


def test_a_process_that_takes_the_place_of_a_dead_one_gets_the_open_task_again(link: SiteLink, make: Any) -> None:
    link.send(task(1))
    first = make(0)
    first.dies()  # which nobody has read yet
    second = make(0)
    assert second.hears() == [Joined(), task(1)]
    first.is_read()
    assert link.has_leader
    assert second.says(result(1)) == result(1)
    second.dies()
    second.is_read()
    assert not link.has_leader
    third = make(0)
    assert third.hears() == [Joined()]  # nothing is open
    link.send(EndRun())
    assert third.hears() == [EndRun()]


def test_every_rank_gets_every_task_however_slow_it_is(link: SiteLink, make: Any) -> None:
    leader = make(0, 3)
    for number in (1, 2, 3):
        link.send(task(number))
        leader.says(result(number))
    slow, slower = make(1, 3), make(2, 3)
    for number in (1, 2, 3):
        slow.says(Next(number - 1))
    assert slow.hears() == [Joined(), task(1), task(2), task(3)]
    slow.says(Next(3))
    assert slow.hears() == []  # it waits
    assert [number for number in range(5) if link.needs(number)] == [1, 2, 3]  # for the slower one
    slower.says(Next(-1))
    slower.says(Next(1))
    assert slower.hears() == [Joined(), task(1), task(2)]
    assert [number for number in range(5) if link.needs(number)] == [2, 3]
    link.send(EndRun())
    assert slow.hears() == [EndRun()]
    slower.says(Next(2))
    slower.says(Next(3))
    assert slower.hears() == [task(3), EndRun()]


def test_a_rank_that_never_asks_keeps_few_models(link: SiteLink, make: Any) -> None:
    make(0, 2)
    make(1, 2)
    for number in range(1, 100):
        link.send(task(number))
    assert sum(link.needs(number) for number in range(200)) == 16
    assert link.needs(99)


def test_without_other_ranks_only_the_last_model_is_kept(link: SiteLink, make: Any) -> None:
    make(0)
    for number in range(1, 9):
        link.send(task(number))
        assert [one for number in range(9) if (one := link.needs(number))] == [True]


def test_a_rank_of_a_restarted_training_gets_no_task_that_its_rank_0_does_not(link: SiteLink, make: Any) -> None:
    leader, other = make(0, 2), make(1, 2)
    for number in (1, 2):
        link.send(task(number))
        leader.says(result(number))
    for process in (other, leader):
        process.dies()
        process.is_read()
    link.send(task(3))
    again = make(1, 2)
    again.says(Next(-1))
    assert again.hears() == [Joined()]  # the tasks until here are those of the dead
    assert make(0, 2).hears() == [Joined(), task(3)]
    assert again.hears() == [task(3)]


def test_how_long_a_site_has_been_without_a_process_that_takes_tasks(link: SiteLink, make: Any) -> None:
    leader = make(0)
    assert link.seconds_alone == 0.0
    leader.dies()
    leader.is_read()
    assert link.seconds_alone > 0.0
    make(0)
    assert link.seconds_alone == 0.0
    assert not link.command_ended
    make().says(CommandEnded())
    assert link.command_ended


def test_a_worker_has_its_tasks_from_the_beginning(processes: list[Process]) -> None:
    worker = Process()
    processes.append(worker)
    link = SiteLink("@worker-1", worker.server, direct=True)
    link.send(EndRun())
    assert worker.hears() == [EndRun()]
    connections: list[ParcelConnection] = list(link)
    assert connections == [worker.server]
