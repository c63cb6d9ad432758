"""GPUs: what users write for them, and which process sees which."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError
from fedtrack_local.processes.gpus import gpu_environment, gpu_groups

IDS = st.integers(0, 15).map(str) | st.uuids().map("GPU-{}".format) | st.just("MIG-GPU-89f9/1/0")
SPACE = st.sampled_from(["", " ", "  "])


@pytest.mark.parametrize(
    ("gpus", "groups"),
    [
        ("0", ["0"]),
        ("0,1", ["0", "1"]),
        (" 3 , 1 ", ["3", "1"]),
        ("[0,1],[2, 3]", ["0,1", "2,3"]),
        ("[0],5", ["0", "5"]),
        ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", ["GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"]),
        ("MIG-GPU-89f9/1/0,MIG-2a", ["MIG-GPU-89f9/1/0", "MIG-2a"]),
    ],
)
def test_gpus_are_dealt_out_in_groups(gpus: str, groups: list[str]) -> None:
    assert gpu_groups(gpus) == groups


@settings(deadline=None, derandomize=True, max_examples=40)
@given(st.lists(st.lists(IDS, min_size=1, max_size=3), min_size=1, max_size=4), SPACE)
def test_spaces_and_brackets_change_nothing(groups: list[list[str]], space: str) -> None:
    written = f"{space},{space}".join(f"[{f'{space},'.join(group)}{space}]" for group in groups)
    assert gpu_groups(f"{space}{written}{space}") == [",".join(group) for group in groups]


@pytest.mark.parametrize("gpus", ["", " ", ",", "0,", ",0", "0 1", "-1", "cuda:0", "[0,1", "0]", "[]", "[[0]]", "all"])
def test_what_names_no_gpu_is_refused_with_what_does(gpus: str) -> None:
    with pytest.raises(ConfigError, match=r"The GPUs .* are not valid; .*nvidia-smi -L"):
        gpu_groups(gpus)


def test_processes_take_the_groups_in_turn() -> None:
    assert [gpu_environment("0,[2,3]", n) for n in range(3)] == [
        {"CUDA_VISIBLE_DEVICES": ids} for ids in ("0", "2,3", "0")
    ]
    assert gpu_environment(None, 0) == {}
