"""The fixtures need no import, bind and unbind the record log, and cost other test suites nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.testing import MemoryLog
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Metric
from fedtrack.tracking.writer import Writer

pytestmark = pytest.mark.slow

pytest_plugins = ["pytester"]


class PlainWriter(Writer):
    name = "plain"
    summary = "Has no dialect."


def test_writers_log_into_the_memory_log(memory_log: MemoryLog) -> None:
    PlainWriter().record_metric("loss", 0.5, step=3)
    (record,) = memory_log.records
    assert isinstance(record, Metric)
    assert (record.key, record.value, record.step) == ("loss", 0.5, 3)


def test_the_memory_log_is_unbound_again(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from fedtrack.tracking import writer

        def test_bound(memory_log):
            assert writer._bound is memory_log

        def test_unbound():
            assert writer._bound is None
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


def test_run_info_has_a_folder_of_its_own(run_info: RunInfo, tmp_path: Path) -> None:
    assert run_info.folder.is_dir()
    assert run_info.folder.is_relative_to(tmp_path)


def test_the_plugin_is_light() -> None:
    program = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import fedtrack.testing.pytest_plugin\n"
        "print(*sorted({name for name in set(sys.modules) - before if not name.startswith('_')}))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert set(ended.stdout.split()) == {
        "fedtrack",
        "fedtrack.lazy",
        "fedtrack.testing",
        "fedtrack.testing.pytest_plugin",
    }


def test_a_broken_law_shows_its_values(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from fedtrack.testing import MemoryReceiver, ReceiverContract

        class TestEmpty(ReceiverContract):
            def make_receiver(self):
                return MemoryReceiver()

            def read(self, folder):
                return []
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-k", "told_apart")
    result.assert_outcomes(failed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(["*assert [[]] == [[]0.5, 1.5, 2.5, 3.5]"])
