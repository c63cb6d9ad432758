"""The records of a finished run are counted, delivered later, verified and dropped, by library and command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedtrack import plugins
from fedtrack.errors import ConfigError, WorkspaceError
from fedtrack.journal.journal import Journal
from fedtrack.runs import dead_letters
from fedtrack.runs.prune import prune
from fedtrack.runs.replay import replay
from fedtrack.runs.result import RunResult
from fedtrack.runs.stored_run import find_run, find_runs
from fedtrack.runs.stored_tally import tally_of
from fedtrack.runs.verify import verify
from fedtrack.runs.workspace import Workspace
from fedtrack.spool.spool import Spool
from fedtrack.tracking.records import Metric
from fedtrack_mlflow import MLflowReceiver
from fedtrack_tensorboard import TBAnalyticsReceiver
from fedtrack_wandb import WandBReceiver

from .conftest import make_job
from .stores import read_mlflow, read_tensorboard, read_wandb

SITES = ("site-1", "site-2")


@pytest.fixture
def picky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Install the plugin in picky.py, for this process and those that it starts; return its receiver's file."""
    site = tmp_path / "site-packages"
    info = site / "fedtrack_picky-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "picky_plugin.py").write_text((Path(__file__).parent / "picky.py").read_text())
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedtrack-picky\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedtrack]\npicky = picky_plugin\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    plugins.unload()
    yield tmp_path / "lines"
    plugins.unload()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedtrack_local.course.STALL_SECONDS", 1.0)


def fedtrack(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedtrack", "runs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def run_picky(file: Path, workspace: Path, place: str = "server") -> RunResult:
    job = make_job("log_steps.py", analytics_receiver=False)
    job.to(plugins.registry().receiver("picky")(file=str(file)), place, id="own")
    return job.simulator_run(workspace)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("place", ["server", "site-1"])
def test_what_a_backend_missed_is_delivered_later_and_once(picky: Path, tmp_path: Path, place: str) -> None:
    down = Path(f"{picky}.down")
    down.touch()
    result = run_picky(picky, tmp_path / "ws", place)
    shown = "own" if place == "server" else f"{place}/own"
    everything = 40 if place == "site-1" else 80 + result.sites["server"].journaled
    assert (result.receivers[shown].delivered, result.receivers[shown].pending) == (0, everything)
    run = find_run(tmp_path / "ws")
    problems = [check.problem for check in verify(run) if check.problem]
    assert any(f"{everything} wait" in problem for problem in problems)
    assert any("cannot be counted: the backend is down" in problem for problem in problems)
    late = replay(run, patience=1.0)
    assert (late.new[shown], late.complete) == (0, False)

    down.unlink()
    for expected in (everything, 0):
        done = replay(run)
        assert (done.new, done.complete) == ({shown: expected}, True)
        assert done.receivers[shown].delivered == everything
    assert len(picky.read_text().splitlines()) == everything
    updated = RunResult.load(result.folder / "run_summary.json").receivers[shown]
    assert (updated.delivered, updated.pending, updated.error) == (everything, 0, "")
    assert [check for check in verify(run) if check.problem] == []
    assert tally_of(run).complete


def test_a_receiver_that_the_job_does_not_name_gets_everything(tmp_path: Path) -> None:
    result = make_job("log_steps.py", analytics_receiver=False).simulator_run(tmp_path)
    run = find_run(tmp_path)
    own = result.sites["server"].journaled
    for expected in (80 + own, 0):
        for name in ("tensorboard", "mlflow", "wandb"):
            done = replay(run, (name, {}))
            assert list(done.new.values()) == [expected]
    for stored in (read_tensorboard(run.folder / "tb_events"), read_mlflow(run.folder / "mlflow.db")):
        assert {site: found.points for site, found in stored.items()} == {"site-1": 40, "site-2": 40, "server": own}
    assert {site: found.points for site, found in read_wandb(run.folder).items()}["site-1"] == 40
    # Other arguments are another receiver, with a cursor of its own.
    assert list(replay(run, ("tensorboard", {"tb_folder": "other"})).new.values()) == [80 + own]
    assert len(RunResult.load(run.folder / "run_summary.json").receivers) == 4
    # From the start once more: the backends recognise what they hold.
    for name in ("tensorboard", "mlflow"):
        assert list(replay(run, (name, {}), again=True).new.values()) == [80 + own]
    assert read_mlflow(run.folder / "mlflow.db")["site-1"].points == 40
    assert read_tensorboard(run.folder / "tb_events")["site-1"].points == 40


def test_verify_counts_in_every_backend_and_sees_each_difference(tmp_path: Path) -> None:
    job = make_job("log_steps.py")
    for receiver in (MLflowReceiver(), WandBReceiver()):
        job.to_server(receiver, id=receiver.name)
    job.simulator_run(tmp_path)
    run = find_run(tmp_path)

    def problems() -> list[str]:
        return [f"{check.what}: {check.problem}" for check in verify(run) if check.problem]

    checks = {check.what: check for check in verify(run)}
    assert problems() == []
    for what in ("receiver: points of site-1 in tensorboard", "mlflow: points of site-1 in mlflow"):
        assert (checks[what].expected, checks[what].found) == (40, 40)
    assert checks["wandb: points of site-2 in wandb"].found == 40

    (lost,) = (run.folder / "tb_events" / "site-1").glob("events*")
    lost.unlink()
    _sql(run.folder / "mlflow.db", "DELETE FROM metrics WHERE key = 'loss' AND step = 7")
    found = [problem.partition("; to deliver")[0] for problem in problems()]
    assert "receiver: points of site-1 in tensorboard: 40 are missing" in found
    assert [problem for problem in found if problem.startswith("mlflow")] == [
        f"mlflow: points of {site} in mlflow: 1 are missing" for site in SITES
    ]
    spool = Spool(run.node("site-1") / "spool")
    spool.append(Metric(1, "late", 1.0, 1))
    spool.close()
    assert any(problem.startswith("site-1: in the spool only: 1 are not in the journal") for problem in problems())
    _sql(run.folder / "journal.db", "DELETE FROM batch WHERE id = (SELECT max(id) FROM batch WHERE site = 'site-2')")
    assert any("server: journal, site-2" in problem for problem in problems())


def test_verify_believes_no_count_that_another_one_contradicts(tmp_path: Path) -> None:
    make_job("log_steps.py").simulator_run(tmp_path)
    run = find_run(tmp_path)
    assert [check for check in verify(run) if check.problem] == []
    for file, change, seen in [
        ("journal.db", "UPDATE stream SET n = n + {}", "server: journal, site-1"),
        ("delivery.db", "UPDATE cursor SET delivered = delivered + {}", "delivered, skipped and dead"),
        ("delivery.db", "UPDATE cursor SET dead = dead + {}", "receiver: dead letters"),
    ]:
        _sql(run.folder / file, change.format(1))
        assert any(seen in check.what for check in verify(run) if check.problem), change
        _sql(run.folder / file, change.format(-1))
    assert [check for check in verify(run) if check.problem] == []


def test_without_a_summary_the_spools_and_pages_say_what_was_logged(tmp_path: Path) -> None:
    """As after the death of a server, which ends its sites."""
    make_job("log_steps.py").simulator_run(tmp_path)
    run = find_run(tmp_path)
    (run.folder / "run_summary.json").unlink()
    tally = tally_of(run)
    assert (tally.sites["site-1"].logged, tally.sites["site-1"].calls, tally.complete) == (40, 40, True)
    receiver = tally.receivers["receiver"]
    assert (receiver.receiver, receiver.pending, receiver.addressed) == ("tensorboard", 0, receiver.delivered)
    verified = fedtrack("verify", str(tmp_path))
    assert (verified.returncode, "Everything is there." in verified.stdout) == (0, True)


def test_what_nobody_can_say_is_not_complete(tmp_path: Path) -> None:
    """As after the death of a server whose site has a process that goes on."""
    make_job("log_steps.py").simulator_run(tmp_path)
    run = find_run(tmp_path)
    (run.folder / "run_summary.json").unlink()
    alive = Spool(run.node("site-1") / "spool")
    alive.append(Metric(0, "late", 0.5))
    tally = tally_of(run)
    assert (tally.sites["site-1"].logged, tally.sites["site-1"].journaled, tally.complete) == (None, 40, False)
    verified = fedtrack("verify", str(tmp_path))
    alive.close()
    assert (verified.returncode, "Everything is there." in verified.stdout) == (1, False)
    assert "how many log calls were made is not known" in verified.stdout
    assert "events: incomplete" in fedtrack("show", str(tmp_path)).stdout


def test_arguments_of_a_replay_follow_the_rules_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_job("log_steps.py", analytics_receiver=False).simulator_run(tmp_path)
    replayed = ["replay", str(tmp_path), "--receiver", "tensorboard", "--args"]
    monkeypatch.setenv("WHERE_TO", "elsewhere")
    assert fedtrack(*replayed, '{"tb_folder": "${ENV:WHERE_TO}"}').returncode == 0
    run = find_run(tmp_path)
    assert read_tensorboard(run.folder / "elsewhere")["site-1"].points == 40
    refused = fedtrack(*replayed, '{"token": "hunter2"}')
    assert (refused.returncode, "hunter2" in refused.stderr) == (2, False)
    assert "--args.token holds a secret" in refused.stderr


def _sql(path: Path, statement: str) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_a_site_that_nobody_read_is_read_by_a_replay(tmp_path: Path) -> None:
    """As after the death of a server that is not resumed: records are left in the spools."""
    make_job("log_steps.py").simulator_run(tmp_path)
    run = find_run(tmp_path)
    spool = Spool(run.node("site-2") / "spool")
    spool.extend([Metric(step, "late", 0.5, step) for step in range(500)])
    assert tally_of(run).sites["site-2"].in_spool == 500
    spool.close()
    assert replay(run).new == {"receiver": 500}
    assert tally_of(run).sites["site-2"].in_spool == 0
    assert not list((run.node("site-2") / "spool").glob("*.spool"))
    assert len(read_tensorboard(run.folder / "tb_events")["site-2"].metrics["late"]) == 500


def test_dead_letters_are_listed_retried_and_dropped(picky: Path, tmp_path: Path) -> None:
    Path(f"{picky}.picky").touch()
    workspace = tmp_path / "ws"
    result = run_picky(picky, workspace)
    dead = result.receivers["own"].dead
    assert dead >= 8  # 3, 13, 23 and 33 of each site
    listed = json.loads(fedtrack("dlq", "list", str(workspace), "--json").stdout)
    assert len(listed) == dead
    assert {(row["receiver"], row["reason"]) for row in listed} == {("own", "no steps that end in 3")}
    again = fedtrack("dlq", "retry", str(workspace), "own")
    assert (again.returncode, f"0 delivered, {dead} refused again" in again.stdout) == (1, True)
    assert fedtrack("verify", str(workspace)).returncode == 1

    Path(f"{picky}.picky").unlink()
    assert dead_letters.retry(find_run(workspace), "own") == (dead, 0, "")
    assert len(picky.read_text().splitlines()) == 80 + result.sites["server"].journaled
    verified = fedtrack("verify", str(workspace))
    assert (verified.returncode, "Everything is there." in verified.stdout) == (0, True)
    assert "has no dead letters" in fedtrack("dlq", "drop", str(workspace), "own").stderr


def test_dropped_letters_stay_counted(picky: Path, tmp_path: Path) -> None:
    Path(f"{picky}.picky").touch()
    result = run_picky(picky, tmp_path / "ws")
    dead = result.receivers["own"].dead
    run = find_run(tmp_path / "ws")
    assert dead_letters.drop(run, "own") == dead
    assert dead_letters.list_dead(run) == []
    assert tally_of(run).receivers["own"].dead == dead
    checks = {check.what: check for check in verify(run)}
    assert checks["own: dead letters"].problem == ""
    with pytest.raises(ConfigError, match="has no dead letters; those that have some: none"):
        dead_letters.retry(run, "own")


def test_earlier_runs_are_listed_and_replayed_with_their_own_job(tmp_path: Path) -> None:
    first = make_job("log_steps.py", analytics_receiver=False).simulator_run(tmp_path)
    job = make_job("log_steps.py", analytics_receiver=False)
    job.to_server(TBAnalyticsReceiver("second"), id="second")
    second = job.simulator_run(tmp_path)
    runs = find_runs(tmp_path)
    assert [run.record.run_id for run in runs if run.record] == [second.run_id, first.run_id]
    listed = json.loads(fedtrack("list", str(tmp_path), "--json").stdout)
    assert [(row["run"], row["status"]) for row in listed] == [(r.run_id, "completed") for r in (second, first)]
    earlier = tmp_path / "runs" / "1"
    assert replay(find_run(earlier)).receivers == {}  # its job named none
    everything = 80 + first.sites["server"].journaled
    assert list(replay(find_run(earlier), ("tensorboard", {})).new.values()) == [everything]
    assert read_tensorboard(earlier / "server" / "simulate_job" / "tb_events")["site-1"].points == 40
    assert replay(find_run(tmp_path)).new == {"second": 0}


def test_show_counts_each_stage(picky: Path, tmp_path: Path) -> None:
    Path(f"{picky}.picky").touch()
    run_picky(picky, tmp_path / "ws")
    shown = fedtrack("show", str(tmp_path / "ws")).stdout
    assert "e2e: completed" in shown
    for row in (["site-1", "40", "0", "40"], ["site-2", "40", "0", "40"]):
        assert any(line.split() == row for line in shown.splitlines()), shown
    assert "no steps that end in 3" in shown
    assert "events: incomplete" in shown
    as_json = json.loads(fedtrack("show", str(tmp_path / "ws"), "--json").stdout)
    assert as_json["receivers"]["own"]["delivered"] + as_json["receivers"]["own"]["dead"] >= 80


def test_only_what_every_receiver_has_is_pruned(tmp_path: Path) -> None:
    result = make_job("log_steps.py").simulator_run(tmp_path)
    run = find_run(tmp_path)
    everything = 80 + result.sites["server"].journaled
    assert prune(run, 1.0) == {"server": 0}  # too young
    with run.stores(write=True) as (_, ledger):
        ledger.rewind("receiver")
    assert prune(run, 0.0) == {"server": 0}  # it would have to be delivered once more
    replay(run)
    assert prune(run, 0.0) == {"server": everything}
    inventory = tally_of(run)
    assert (inventory.sites["site-1"].journaled, inventory.complete) == (40, True)
    assert [check for check in verify(run) if check.problem] == []
    assert replay(run).new == {"receiver": 0}


def test_journal_without_receivers_is_never_pruned(tmp_path: Path) -> None:
    make_job("log_steps.py", analytics_receiver=False).simulator_run(tmp_path)
    assert prune(find_run(tmp_path), 0.0) == {"server": 0}


def test_a_workspace_in_use_is_left_alone(tmp_path: Path) -> None:
    make_job("log_steps.py").simulator_run(tmp_path)
    run = find_run(tmp_path)
    before = _content(tmp_path)
    server = Workspace(tmp_path)
    actions: list[Callable[[], object]] = [lambda: replay(run), lambda: verify(run), lambda: prune(run, 0.0)]
    for action in actions:
        with pytest.raises(WorkspaceError, match="is in use by the process"):
            action()
    tally_of(run)  # looking does no harm
    assert _content(tmp_path) == before
    server.close()


def _content(folder: Path) -> dict[Path, bytes]:
    journal = Journal(folder / "server" / "simulate_job" / "journal.db")
    journal.close()  # merges the write-ahead log that a reader may have left
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "nowhere"], "holds no run"),
        (["replay", "nowhere"], "holds no run"),
        (["replay", ".", "--receiver", "tensorboard", "--args", "{"], "is no JSON"),
        (["replay", ".", "--receiver", "tensorboard", "--args", "[]"], "is no JSON object"),
        (["dlq", "retry", "nowhere", "own"], "holds no run"),
    ],
)
def test_mistakes_on_the_command_line(arguments: list[str], message: str) -> None:
    done = fedtrack(*arguments)
    assert (done.returncode, message in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr
