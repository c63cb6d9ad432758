"""The command ``python -m fedtrack_examples.prepare``, which ``fedtrack examples prepare-data`` runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from fedtrack.errors import report_errors, system_errors
from fedtrack_examples import datasets


def main() -> None:
    """Download a data set once."""
    parser = argparse.ArgumentParser(prog="fedtrack examples prepare-data")
    parser.add_argument("dataset")
    parser.add_argument("--data-dir", type=Path)
    args = parser.parse_args()
    with report_errors(), system_errors():
        folder = datasets.prepare(args.dataset, args.data_dir)
    print(f"The images are in {folder}" if folder else f"{args.dataset} needs no download.")


if __name__ == "__main__":
    main()
