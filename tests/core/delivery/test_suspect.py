"""Suspect: the events of one call are cut so that those before and after the suspects stay together."""

from __future__ import annotations

from fedtrack.delivery.suspect import Precautions, Suspect


def cut(precautions: Precautions, count: int, most: int) -> list[list[int]]:
    keys = [(1 + number // 10, number) for number in range(count)]
    return [list(part) for part in precautions.cut(range(count), keys, most)]


def test_without_suspects_the_parts_are_as_large_as_they_may_be() -> None:
    assert cut(Precautions(), 5, 2) == [[0, 1], [2, 3], [4]]
    assert cut(Precautions(), 0, 2) == []


def test_only_the_suspects_come_in_pieces() -> None:
    found = cut(Precautions(Suspect(2, 12, 4, 2)), 30, 100)
    assert found == [list(range(12)), [12, 13], [14, 15], list(range(16, 30))]


def test_suspects_of_another_stream_or_of_the_past_change_nothing() -> None:
    assert cut(Precautions(Suspect(9, 12, 4, 2)), 3, 100) == [[0, 1, 2]]


def test_no_part_is_larger_than_the_receiver_allows() -> None:
    assert cut(Precautions(Suspect(1, 0, 4, 3)), 6, 2) == [[0, 1], [2, 3], [4, 5]]
