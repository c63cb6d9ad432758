"""The rank that a launcher has given to a process."""

from __future__ import annotations

import pytest

from fedtrack_local.scripts.ranks import default_rank, world_size


@pytest.mark.parametrize(
    ("environment", "rank", "world"),
    [
        ({}, 0, 1),
        ({"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}, 3, 4),  # torchrun, accelerate
        ({"RANK": "0", "LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "2"}, 0, 2),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, 1, 2),  # a process that Lightning has started
        ({"LOCAL_RANK": "0", "NODE_RANK": "0", "WORLD_SIZE": "2"}, 0, 2),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, 1, 1),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "3"}, 2, 3),
        ({"PMI_RANK": "1", "PMI_SIZE": "2"}, 1, 2),
        ({"RANK": "sergeant", "WORLD_SIZE": "-1"}, 0, 1),  # somebody else's variables
        ({"WORLD_SIZE": "0"}, 0, 1),
    ],
)
def test_rank_and_number_of_ranks(environment: dict[str, str], rank: int, world: int) -> None:
    assert (default_rank(environment), world_size(environment)) == (rank, world)
