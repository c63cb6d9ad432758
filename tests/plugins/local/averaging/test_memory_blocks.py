"""Arrays from one block behave like arrays with their own memory."""

from __future__ import annotations

import numpy as np

from fedtrack_local.averaging.memory_blocks import BLOCK, MemoryBlocks
from fedtrack_local.models.arrays import Array


def test_arrays_do_not_overlap_and_are_aligned() -> None:
    sizes = [0, 1, 3, 1000, 17, 64]
    blocks = MemoryBlocks(4 * sum(sizes))
    arrays = [blocks.empty(size, np.float32) for size in sizes] + [blocks.empty(5, np.dtype(np.float64))]
    for number, array in enumerate(arrays):
        array[:] = number
    for number, array in enumerate(arrays):
        assert (array == number).all()
        assert array.ctypes.data % 8 == 0
    assert [array.size for array in arrays] == [*sizes, 5]


def block_of(array: Array) -> Array:
    assert array.base is not None
    return array.base


def test_many_arrays_share_a_block_and_the_last_block_is_no_larger_than_needed() -> None:
    blocks = MemoryBlocks(BLOCK + 4096)
    arrays = [blocks.empty(BLOCK // 16, np.float32) for _ in range(4)]
    assert {id(block_of(array)) for array in arrays} == {id(block_of(arrays[0]))}
    assert block_of(arrays[0]).nbytes == BLOCK
    assert block_of(blocks.empty(1, np.float32)).nbytes == 4096


def test_a_tensor_larger_than_a_block_has_one_of_its_own() -> None:
    array = MemoryBlocks(0).empty(5000, np.float32)
    assert (array.size, array.flags.c_contiguous, block_of(array).nbytes) == (5000, True, 20032)
