"""The page shows the threats and their tests."""

import ast

from security.table import _marks, marked, table, written
from security.threats import THREATS


def test_the_page_shows_the_tests_of_each_threat() -> None:
    assert written() == table(), "write it again: python tests/security/table.py --write"


def test_every_mark_names_a_threat() -> None:
    assert marked().keys() - {row.id for row in THREATS} == set()


def test_marks_of_functions_classes_and_files_are_found() -> None:
    source = """
pytestmark = [pytest.mark.slow, pytest.mark.threat("T1")]
class TestA:
    @pytest.mark.threat("T2", "T3")
    def test_b(self): ...
@pytest.mark.threat("T4")
class TestC: ...
"""
    assert sorted(threat for threat, _ in _marks(ast.parse(source))) == ["T1", "T2", "T3", "T4"]
