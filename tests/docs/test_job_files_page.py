"""The page of job files has the tables that the code gives."""

from __future__ import annotations

import sys

import pytest

from support.venv import ROOT


def test_the_tables_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import job_files_page

    assert job_files_page.PAGE.read_text() == job_files_page.page()
    del sys.modules["job_files_page"]
