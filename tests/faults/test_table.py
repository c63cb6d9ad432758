"""The page shows the rows that are tested."""

from faults.table import table, written


def test_the_page_shows_the_matrix() -> None:
    assert written() == table(), "write it again: python tests/faults/table.py --write"
