"""``fedtrack collect`` and ``fedtrack.connect``: what a log call has stored arrives once and in order, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.collector import CollectorProcess, environment

pytestmark = pytest.mark.slow

#: Logs until it is told how many, and writes the number of each call that has returned into a file of its own.
TRAINING = """
import os, sys, fedtrack
count, done, pause = int(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND), float(sys.argv[3])
import time
run = fedtrack.connect()
for step in range(count):
    run.round(step // 100)
    run.log({"loss": 1 / (step + 1)}, step=step)
    os.write(done, b"%d\\n" % step)
    if pause: time.sleep(pause)
found = run.finish(timeout=60)
print("complete" if found.complete else f"left {found.left}: {found.reason}", flush=True)
"""


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    found = CollectorProcess(tmp_path)
    found.start()
    yield found
    found.close()


@pytest.fixture
def training(tmp_path: Path) -> Path:
    path = tmp_path / "training.py"
    path.write_text(TRAINING)
    return path


def start(
    training: Path, collector: CollectorProcess, token: str, count: int, pause: float = 0.0, site: str = "hospital-a"
) -> subprocess.Popen[str]:
    folder = training.parent
    command = [sys.executable, str(training), str(count), str(folder / f"{site}.done"), str(pause)]
    env = environment(collector, folder, site, "study-7", token)
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def returned(folder: Path, site: str = "hospital-a") -> int:
    path = folder / f"{site}.done"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until(condition: object, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def steps(collector: CollectorProcess, site: str = "hospital-a") -> list[int]:
    """Return the steps in the order of the journal; a record of a metric is kind, time, key, value, step."""
    return [event[-1] if event[-1] is not None else event[-2] for event in collector.events("study-7").get(site, [])]


def agent_of(folder: Path) -> int | None:
    for path in (folder / "outbox").glob("*/*/agent.lock"):
        text = path.read_text().strip()
        if text and Path(f"/proc/{text}").exists():
            return int(text)
    return None


def test_everything_arrives_with_its_round(collector: CollectorProcess, training: Path) -> None:
    process = start(training, collector, collector.token("hospital-a"), 300)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out.strip()) == (0, "complete"), err
    assert steps(collector) == list(range(300))
    assert [event[2] for event in collector.events("study-7")["hospital-a"]] == [step // 100 for step in range(300)]
    assert list(collector.events("study-7")) == ["hospital-a"]


def test_a_killed_training_loses_nothing_that_returned(
    collector: CollectorProcess, training: Path, tmp_path: Path
) -> None:
    process = start(training, collector, collector.token("hospital-a"), 10**6, pause=0.0005)
    wait_until(lambda: returned(tmp_path) > 500)
    process.kill()
    process.communicate()
    known = returned(tmp_path)
    wait_until(lambda: len(steps(collector)) >= known)
    assert steps(collector) == list(range(len(steps(collector))))
    assert len(steps(collector)) in (known, known + 1)
    wait_until(lambda: agent_of(tmp_path) is None)


def test_a_killed_agent_is_replaced(collector: CollectorProcess, training: Path, tmp_path: Path) -> None:
    process = start(training, collector, collector.token("hospital-a"), 2000, pause=0.003)
    killed = 0
    while process.poll() is None and killed < 4:
        agent = agent_of(tmp_path)
        if agent is not None and returned(tmp_path) > 400 * killed + 100:
            os.kill(agent, signal.SIGKILL)
            killed += 1
        time.sleep(0.02)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out.strip()) == (0, "complete"), err
    assert killed == 4
    assert steps(collector) == list(range(2000))


def test_a_killed_collector_goes_on_where_it_was(collector: CollectorProcess, training: Path, tmp_path: Path) -> None:
    process = start(training, collector, collector.token("hospital-a"), 3000, pause=0.002)
    for limit in (300, 1200):
        wait_until(lambda limit=limit: returned(tmp_path) > limit)
        collector.kill()
        time.sleep(0.3)
        collector.start()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out.strip()) == (0, "complete"), err
    assert steps(collector) == list(range(3000))


def test_a_collector_that_is_down_costs_nothing_and_gets_all_later(
    collector: CollectorProcess, training: Path, tmp_path: Path
) -> None:
    token = collector.token("hospital-a")
    collector.stop()
    begun = time.monotonic()
    process = start(training, collector, token, 200)
    wait_until(lambda: returned(tmp_path) == 200)
    assert time.monotonic() - begun < 30
    process.kill()
    process.communicate()
    collector.start()
    wait_until(lambda: len(steps(collector)) == 200)


def test_a_revoked_token_keeps_the_records_and_says_so(
    collector: CollectorProcess, training: Path, tmp_path: Path
) -> None:
    token = collector.token("hospital-a")
    collector.command("tokens", "revoke", "hospital-a")
    training.write_text(TRAINING.replace("timeout=60", "timeout=5"))
    process = start(training, collector, token, 50)
    out, err = process.communicate(timeout=120)
    assert out.startswith("left 50: 401: the token is unknown, expired or revoked")
    assert "hospital-a: 50 events are not confirmed" in err
    assert token not in out + err
    again = start(training, collector, collector.token("hospital-a"), 10)
    out, err = again.communicate(timeout=120)
    wait_until(lambda: len(steps(collector)) == 60)


@pytest.mark.threat("T1")
def test_a_token_speaks_for_its_own_site_only(collector: CollectorProcess, training: Path) -> None:
    training.write_text(TRAINING.replace("timeout=60", "timeout=5"))
    process = start(training, collector, collector.token("hospital-a"), 5, site="hospital-b")
    out, _ = process.communicate(timeout=120)
    assert "the token is of 'hospital-a', not of 'hospital-b'" in out


def test_an_ended_run_is_delivered_shown_and_takes_late_records(collector: CollectorProcess, training: Path) -> None:
    token = collector.token("hospital-a")
    start(training, collector, token, 40).communicate(timeout=120)
    assert "ends as soon as" in collector.command("end", "study-7").stdout
    wait_until(lambda: (collector.run("study-7") / "server" / "simulate_job" / "run_summary.json").exists())
    start(training, collector, token, 10).communicate(timeout=120)
    assert len(steps(collector)) == 50


def test_it_ends_in_order(collector: CollectorProcess, training: Path) -> None:
    start(training, collector, collector.token("hospital-a"), 40).communicate(timeout=120)
    assert collector.stop() == 0


def test_a_run_is_shown_while_it_goes_on_and_after(collector: CollectorProcess, training: Path) -> None:
    token = collector.token("hospital-a")
    start(training, collector, token, 40).communicate(timeout=120)
    wait_until(lambda: ["tensorboard", "40", "0", "0", "0", "40"] in rows(collector))
    assert shown(collector).startswith("study-7: running: 40 events in the journal; collector ")
    assert ["hospital-a", "40", "0", "40"] in rows(collector)
    assert not any(row[:1] == ["server"] for row in rows(collector))
    assert "the run goes on" in shown(collector)
    collector.kill()
    assert f"its collector died; 40 events in the journal; to go on: fedtrack collect {collector.folder}" in shown(
        collector
    )
    collector.start()
    collector.command("end", "study-7")
    wait_until(lambda: shown(collector).startswith("study-7: completed"))
    assert shown(collector).endswith("events: complete\n")
    listed = fedtrack("runs", "list", str(collector.folder)).stdout
    assert "study-7" in listed
    assert "completed" in listed
    again = fedtrack("runs", "replay", str(collector.run("study-7")), "--again")
    assert "tensorboard: 40 events delivered now" in again.stdout, again.stderr
    assert fedtrack("runs", "verify", str(collector.run("study-7"))).returncode == 0


def rows(collector: CollectorProcess) -> list[list[str]]:
    return [line.split() for line in shown(collector).splitlines()]


def shown(collector: CollectorProcess) -> str:
    return fedtrack("runs", "show", str(collector.run("study-7"))).stdout


def fedtrack(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "fedtrack", *words], capture_output=True, text=True, timeout=120)
