"""Readers of bytes from other processes accept any bytes: a few thousand changed inputs, the same in every run.

FEDTRACK_SOAK=1 fuzzes each reader with atheris for as long as ``soak.py`` says; ``make soak`` installs it into build/.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from .fuzz_targets import TARGETS
from .soak import FUZZ_SECONDS, SOAK

EXAMPLES = 2_000
ATHERIS = Path(__file__).resolve().parents[2] / "build" / "fuzz"


def changed(seed: bytes, source: random.Random) -> bytes:
    """Return ``seed`` with a few bytes flipped, set, removed, repeated or cut off."""
    data = bytearray(seed)
    for _ in range(source.randrange(4)):
        position = source.randrange(len(data) + 1)
        match source.randrange(5):
            case 0 if position < len(data):
                data[position] ^= 1 << source.randrange(8)
            case 1 if position < len(data):
                data[position] = source.choice((0, 1, 0x7F, 0x80, 0xFF, source.randrange(256)))
            case 2:
                del data[position : position + source.randrange(1, 20)]
            case 3:
                data[position:position] = data[position : position + source.randrange(1, 40)]
            case 4:
                data[position:position] = source.randbytes(source.randrange(1, 8))
    return bytes(data[: source.randrange(len(data) + 1)] if source.random() < 0.1 else data)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_input_breaks_no_law(name: str) -> None:
    source, seeds = random.Random(name), TARGETS[name].seeds()
    for _ in range(EXAMPLES):
        data = changed(source.choice(seeds), source)
        try:
            TARGETS[name].check(data)
        except Exception as error:
            raise AssertionError(f"this input breaks a law: {data!r}") from error


@pytest.mark.skipif(not SOAK, reason="takes minutes: FEDTRACK_SOAK=1")
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", TARGETS)
def test_guided_fuzzing_breaks_no_law(name: str, tmp_path: Path) -> None:
    if not (ATHERIS.is_dir() or find_spec("atheris")):
        pytest.skip("atheris is not installed; make soak does it")
    command = [sys.executable, "fuzz.py", name, str(FUZZ_SECONDS), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ATHERIS), os.environ.get("PYTHONPATH", "")))}
    done = subprocess.run(command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"the input is in {tmp_path}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    assert executed is not None
    print(f"{name}: {int(executed[1]):,} inputs in {FUZZ_SECONDS} s, {len(list((tmp_path / 'corpus').iterdir()))} kept")
    assert int(executed[1]) > 1_000
