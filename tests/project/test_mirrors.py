"""Tests mirror source files, so that a test that fails points at the file to look into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Where the tests of a distribution's modules are.
HOMES = {
    ROOT / "core" / "src" / "fedtrack": ROOT / "tests" / "core",
    ROOT / "plugins" / "local" / "src" / "fedtrack_local": ROOT / "tests" / "plugins" / "local",
    ROOT / "plugins" / "ui" / "src" / "fedtrack_ui": ROOT / "tests" / "plugins" / "ui",
}

#: Shorter modules have little that could fail by itself.
LINES = 60

#: Modules without a test of their name, and the test that reaches them; a module that gets one leaves this list.
EXCEPTIONS = {
    # Declarations: a protocol, structures, and what they are called.
    "fedtrack/job/loaded_job.py": "tests/core/job/test_load.py",
    "fedtrack/partial_engine.py": "tests/engines/contract/test_delivery_contract.py",
    "fedtrack_local/active_run.py": "tests/plugins/local/test_local_run.py",
    "fedtrack_local/workflows/workflow.py": "tests/plugins/local/workflows/test_fedavg.py",
    # Parts of one thing, which is tested as a whole.
    "fedtrack/job/base_fed_job.py": "tests/core/job/test_export.py",
    "fedtrack/job/fedavg_job.py": "tests/core/job/test_export.py",
    "fedtrack/job/shared_processes.py": "tests/plugins/local/test_virtual_sites.py",
    "fedtrack/journal/batches.py": "tests/core/journal/test_journal.py",
    "fedtrack/journal/database.py": "tests/core/journal/test_journal.py",
    "fedtrack/journal/rescue.py": "tests/core/journal/test_read_around.py",
    "fedtrack/runs/spool_records.py": "tests/core/runs/test_salvage.py",
    "fedtrack/journal/gaps.py": "tests/core/journal/test_journal.py",
    "fedtrack/journal/goodbyes.py": "tests/core/transport/test_forwarder_counts.py",
    "fedtrack/spool/segments.py": "tests/core/spool/test_spool.py",
    "fedtrack/spool/stream_counts.py": "tests/core/spool/test_counter_page.py",
    "fedtrack/transport/file_shipper.py": "tests/core/transport/test_forwarder.py",
    "fedtrack/transport/forward_pass.py": "tests/core/transport/test_forwarder.py",
    "fedtrack/transport/shared_source.py": "tests/core/spool/test_shared.py",
    "fedtrack/transport/spool_source.py": "tests/core/transport/test_forwarder.py",
    "fedtrack/view/points.py": "tests/core/view/test_follower.py",
    "fedtrack/view/round_fold.py": "tests/core/view/test_follower.py",
    "fedtrack/view/view.py": "tests/core/view/test_follower.py",
    "fedtrack/plugins/checks.py": "tests/core/plugins/test_loader.py",
    "fedtrack/delivery/load.py": "tests/core/delivery/test_delivery.py",
    "fedtrack/delivery/recorded_receiver.py": "tests/core/delivery/deliverer/test_supervisor.py",
    "fedtrack/delivery/errands/messages.py": "tests/core/delivery/errands/test_mailbox.py",
    "fedtrack/delivery/second_try.py": "tests/campaigns/test_versions.py",
    "fedtrack/delivery/deliverer/feeding.py": "tests/core/delivery/deliverer/test_supervisor.py",
    "fedtrack/delivery/deliverer/process.py": "tests/core/delivery/deliverer/test_supervisor.py",
    "fedtrack/delivery/deliverer/standing.py": "tests/core/delivery/deliverer/test_supervisor.py",
    "fedtrack/delivery/deliverer/surroundings.py": "tests/core/delivery/deliverer/test_supervisor.py",
    "fedtrack/delivery/deliverer/worker.py": "tests/core/delivery/deliverer/test_supervisor.py",
    "fedtrack/delivery/report.py": "tests/core/delivery/test_counts.py",
    "fedtrack/delivery/retry.py": "tests/core/delivery/test_delivery_outages.py",
    # A collector and what connects to it, which need each other.
    "fedtrack/collector/collected_run.py": "tests/e2e/test_collect.py",
    "fedtrack/collector/collected_runs.py": "tests/e2e/test_collect.py",
    "fedtrack/collector/prometheus.py": "tests/e2e/test_collect.py",
    "fedtrack/collector/server.py": "tests/e2e/test_collect.py",
    "fedtrack/connection/agent.py": "tests/e2e/test_collect.py",
    "fedtrack/connection/agent_lock.py": "tests/e2e/test_collect.py",
    "fedtrack/connection/connected_run.py": "tests/core/connection/test_connect.py",
    "fedtrack/connection/shipment.py": "tests/e2e/test_collect.py",
    "fedtrack/cli/collect.py": "tests/e2e/test_collect.py",
    # What a policy says of one key, and of every site of a run.
    "fedtrack/policy/plan.py": "tests/core/policy/test_gate.py",
    "fedtrack/policy/run_terms.py": "tests/core/policy/test_terms.py",
    "fedtrack/seals/site_key.py": "tests/core/seals/test_release_log.py",
    # The two ends of a bundle, and of a release log that is sent.
    "fedtrack/cli/audit.py": "tests/core/runs/test_audit.py",
    "fedtrack/runs/bundle.py": "tests/core/runs/test_audit.py",
    # What backends are asked with.
    "fedtrack/cli/diagnosis/question.py": "tests/core/cli/diagnosis/test_backends.py",
    # Commands about whole runs, which need one.
    "fedtrack/cli/export.py": "tests/core/runs/test_export.py",
    "fedtrack/cli/runs.py": "tests/e2e/test_stored_runs.py",
    "fedtrack/cli/stored_runs.py": "tests/e2e/test_stored_runs.py",
    "fedtrack/cli/submit.py": "tests/plugins/local/test_detached.py",
    "fedtrack/runs/dead_letters.py": "tests/e2e/test_stored_runs.py",
    "fedtrack/runs/journal_facts.py": "tests/core/runs/test_tally.py",
    "fedtrack/runs/rows.py": "tests/core/runs/test_export.py",
    "fedtrack/runs/replay.py": "tests/e2e/test_stored_runs.py",
    "fedtrack/runs/site_tally.py": "tests/core/runs/test_tally.py",
    "fedtrack/runs/spool_count.py": "tests/core/runs/test_killed_on_a_full_spool.py",
    "fedtrack/runs/stored_run.py": "tests/e2e/test_stored_runs.py",
    "fedtrack/runs/stored_tally.py": "tests/e2e/test_stored_runs.py",
    "fedtrack_local/engine.py": "tests/engines/contract/test_delivery_contract.py",
    "fedtrack_local/exchange.py": "tests/plugins/local/test_local_fork_server.py",
    "fedtrack_local/processes/failure_report.py": "tests/plugins/local/test_local_failures.py",
    "fedtrack_local/launch.py": "tests/plugins/local/test_local_run.py",
    "fedtrack_local/summary.py": "tests/plugins/local/test_local_run.py",
    # The data of the page's addresses, which are asked for.
    "fedtrack_ui/across_data.py": "tests/plugins/ui/test_app.py",
    "fedtrack_ui/count_data.py": "tests/plugins/ui/test_app.py",
    "fedtrack_ui/run_data.py": "tests/plugins/ui/test_app.py",
    "fedtrack_ui/run_facts.py": "tests/plugins/ui/test_app.py",
    "fedtrack_ui/run_list.py": "tests/plugins/ui/test_app.py",
    "fedtrack_ui/item.py": "tests/plugins/ui/test_app.py",
    "fedtrack_ui/followed_run.py": "tests/plugins/ui/test_app.py",
    "fedtrack_ui/standing.py": "tests/plugins/ui/test_answers.py",
    "fedtrack_ui/departure.py": "tests/plugins/ui/test_answers.py",
    "fedtrack_ui/timeline.py": "tests/plugins/ui/test_answers.py",
    "fedtrack_ui/words.py": "tests/plugins/ui/test_answers.py",
    "fedtrack_ui/rollup/reading.py": "tests/plugins/ui/rollup/test_follower.py",
    "fedtrack_ui/commands.py": "tests/plugins/ui/test_serve.py",
    "fedtrack_ui/trackers.py": "tests/plugins/ui/test_serve.py",
}


def modules() -> Iterator[tuple[Path, Path, str]]:
    """Yield each long module, the folder of its tests and its name as an exception would have it."""
    for source, tests in HOMES.items():
        for path in sorted(source.rglob("*.py")):
            inside = path.relative_to(source)
            if path.name != "__init__.py" and len(path.read_text().splitlines()) > LINES:
                yield path, tests / inside.parent, f"{source.name}/{inside}"


def namesakes(module: Path, folder: Path) -> list[Path]:
    """Return ``test_<module>.py`` and ``test_<module>_<aspect>.py``, but not what is a longer-named neighbour's."""
    neighbours = {path.stem for path in module.parent.glob(f"{module.stem}_*.py")}
    found = [*folder.glob(f"test_{module.stem}.py"), *folder.glob(f"test_{module.stem}_*.py")]
    return [path for path in found if not any(path.stem.startswith(f"test_{name}") for name in neighbours)]


@pytest.mark.parametrize(("module", "folder", "name"), [pytest.param(*found, id=found[2]) for found in modules()])
def test_a_module_has_a_test_of_its_name(module: Path, folder: Path, name: str) -> None:
    if name in EXCEPTIONS:
        assert not namesakes(module, folder), f"{name} has a test now; take it off EXCEPTIONS"
        return
    assert namesakes(module, folder), (
        f"write {folder.relative_to(ROOT)}/test_{module.stem}.py, or name it in EXCEPTIONS"
    )


def test_every_exception_is_a_long_module_and_names_a_test_that_exists() -> None:
    assert EXCEPTIONS.keys() - {name for _, _, name in modules()} == set()
    assert {where for where in EXCEPTIONS.values() if not (ROOT / where).exists()} == set()


def test_a_namesake_is_not_that_of_a_neighbour_with_a_longer_name(tmp_path: Path) -> None:
    source, tests = tmp_path / "source", tmp_path / "tests"
    for path in (source / "worker.py", source / "worker_spec.py", tests / "test_worker_spec.py"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert namesakes(source / "worker.py", tests) == []
    (tests / "test_worker_room.py").touch()
    assert namesakes(source / "worker.py", tests) == [tests / "test_worker_room.py"]
    assert namesakes(source / "worker_spec.py", tests) == [tests / "test_worker_spec.py"]
