"""GPUs: what users write for them, and which process sees which."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.errors import ConfigError
from fedtrack_local.processes.gpus import check_gpus, gpu_environment, gpu_groups

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


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Put an nvidia-smi that prints ``text`` on the PATH."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


LISTED = """GPU 0: NVIDIA H200 (UUID: GPU-8932f937-d72c-4106-c12f-20bd9faed9f6)
GPU 1: NVIDIA H200 (UUID: GPU-11111111-d72c-4106-c12f-20bd9faed9f6)
  MIG 1g.18gb     Device  0: (UUID: MIG-2a2a)"""


def test_a_gpu_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, LISTED)
    for gpus in ("0,1", "[0,1]", "GPU-8932f937", "MIG-2a2a"):
        check_gpus(gpus)
    with pytest.raises(ConfigError, match=r"The GPU '99' of '0,99' is none of this machine \(nvidia-smi -L: 0, 1, "):
        check_gpus("0,99")
    with pytest.raises(ConfigError, match="'GPU-999'"):
        check_gpus("GPU-999")


def test_gpus_of_a_batch_system_are_those_that_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, monkeypatch, LISTED)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    check_gpus("3")
    with pytest.raises(ConfigError, match=r"'0' of '0' is none of this machine \(CUDA_VISIBLE_DEVICES: 2, 3\)"):
        check_gpus("0")


def test_where_no_list_can_be_had_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    smi(tmp_path, monkeypatch, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.")
    check_gpus("99")
    assert caplog.messages == ["The GPUs 99 cannot be checked, because nvidia-smi does not list any here."]
