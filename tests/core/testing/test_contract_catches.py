"""The contract passes a good receiver and names the law that each broken one breaks."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

#: One worker, since one run of pytest serves all of them.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("contracts")]

HERE = Path(__file__).parent

CONTRACTS = """
import sys
sys.path.insert(0, {here!r})
import jsonl_receiver
from fedtrack.testing import ReceiverContract

class Contract(ReceiverContract):
    def make_receiver(self):
        return getattr(jsonl_receiver, type(self).__name__.removeprefix("Test"))()

    def read(self, folder):
        return jsonl_receiver.read_jsonl(folder)

for name in {names!r}:
    globals()["Test" + name] = type("Test" + name, (Contract,), {{}})
"""

BROKEN: dict[str, set[str]] = {
    "JsonlReceiver": set(),
    "LosesTheTail": {
        "test_every_point_arrives_exactly_once",
        "test_flushed_records_survive_sigkill",
    },
    "Reorders": {"test_order_is_kept_per_site_and_stream"},
    "DuplicatesAfterTransient": {"test_every_point_arrives_exactly_once"},
    "InventsWallTime": {"test_wall_time_is_the_sites"},
    "CrashesOnNaN": {"test_nan_and_infinities_do_not_break_a_batch"},
    "NeverFlushes": {"test_flushed_records_survive_sigkill"},
    "DropsHostileKeys": {"test_hostile_keys_come_back_as_they_were"},
    "ReopensAfresh": {"test_a_second_receiver_adopts_the_run"},
    "KnowsSitesBeforehand": {"test_a_site_that_was_never_seen_is_created"},
    "TouchesAtConstruction": {"test_construction_imports_no_sdk_and_touches_nothing"},
    "LoadsItsSdkEarly": {"test_construction_imports_no_sdk_and_touches_nothing"},
    "ClosesOnce": {"test_close_runs_after_a_failed_open", "test_flush_and_close_can_be_repeated"},
    "WritesBesideTheRun": {"test_nothing_is_written_outside_the_results_folder"},
}


@pytest.fixture(scope="module")
def broken_laws(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The laws that failed, by receiver; one run of pytest for all of them."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "test_contracts.py").write_text(CONTRACTS.format(here=str(HERE), names=sorted(BROKEN)))
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "-W", "error"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    failed: dict[str, set[str]] = {name: set() for name in BROKEN}
    for receiver, law in re.findall(r"^(?:FAILED|ERROR) \S+::Test(\w+)::(\w+)", ended.stdout, re.MULTILINE):
        failed[receiver].add(law)
    counted = re.search(r"(\d+) failed", ended.stdout)
    assert counted, ended.stdout
    assert sum(map(len, failed.values())) == int(counted[1]), ended.stdout
    return failed


@pytest.mark.parametrize("receiver", BROKEN)
def test_broken_receivers_are_caught_by_name(receiver: str, broken_laws: dict[str, set[str]]) -> None:
    expected = BROKEN[receiver]
    assert expected <= broken_laws[receiver]
    assert expected or not broken_laws[receiver]  # the good one keeps every law
