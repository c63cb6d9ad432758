"""Fuzzes one reader of bytes with atheris, guided by the lines that an input reaches; prints the number of inputs.

    python fuzz.py TARGET SECONDS FOLDER

FOLDER keeps the inputs that reached new lines, and an input that breaks a law. Needs ``atheris``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fedtrack", "msgspec"]):
    from fuzz_targets import TARGETS


def main() -> None:
    name, seconds, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name]
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", "-print_final_stats=1", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
