"""A mapped model can be read many times, and takes only the memory of the part that is being read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from fedtrack_local.models.model_map import map_under, release
from fedtrack_local.models.params import load_params, save_params

#: Averages five results of 64 MB in tensors of 1 MB and prints how many bytes of memory that took at most.
AVERAGE = """
import sys
from pathlib import Path
import numpy as np
from fedtrack_local.averaging.aggregator import WeightedAggregator
from fedtrack.client.fl_model import ParamsType
from fedtrack_local.models.params import load_params

def memory(name):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024

path = Path(sys.argv[1])
before = memory("VmRSS:")
aggregator = WeightedAggregator(load_params(path))
answers = [load_params(path) for _ in range(5)]
for number, answer in enumerate(answers):
    aggregator.accept(f"site-{number}", answer, ParamsType[sys.argv[2]], 1.0)
aggregator.result()
print(memory("VmHWM:") - before)
"""


def test_averaging_takes_the_memory_of_one_model_and_a_tensor_or_two(tmp_path: Path) -> None:
    save_params({f"layer-{n}": np.ones(2**18, np.float32) for n in range(64)}, tmp_path / "model")
    for params_type in ("FULL", "DIFF"):
        command = [sys.executable, "-c", AVERAGE, str(tmp_path / "model"), params_type]
        taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        assert 1.0 <= taken / (64 * 2**20) < 1.25, params_type


def test_a_released_array_reads_the_same_again(tmp_path: Path) -> None:
    params = {"a": np.arange(5000, dtype=np.float32), "b": np.arange(3, dtype=np.int64), "none": np.zeros(0)}
    save_params(params, tmp_path / "model")
    loaded = load_params(tmp_path / "model")
    for name, array in params.items():
        release(loaded[name])
        np.testing.assert_array_equal(loaded[name], array)


def test_an_array_in_memory_keeps_its_values_when_released() -> None:
    array = np.arange(5000.0)
    release(array)
    assert array.tolist() == list(range(5000))
    assert map_under(array) is None
