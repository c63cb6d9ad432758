"""Bench: a small job in a process of its own, with a fault at a chosen call, and the commands that look at its run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults.oracle import Facts, read_facts

CALLS, ROUNDS = 40, 2
_PATIENCE = 120

#: Logs, and writes each call that has returned to a file of its own; then does what the fault says.
CLIENT = """
import json, os, signal, time
from pathlib import Path
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer

flare.init()
site, pid = flare.get_site_name(), os.getpid()
home = Path(os.environ["FAULTS_HOME"])
fault = json.loads((home / "fault.json").read_text())
truth = os.open(home / "truth" / f"{site}.{pid}", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
writer = Writer()


def child_of(parent, word):
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
            above = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if above == parent and word in words:
            return int(path.name)
    raise SystemExit("there is no such process")


def strike(current_round, call):
    if (site, current_round, call) != ("site-1", fault.get("round"), fault.get("call")):
        return
    if (home / "struck").exists():
        return
    (home / "struck").touch()
    server = int((home / "server").read_text())
    if fault["victim"] == "deliverer":
        victim = child_of(server, b"deliverer")
    else:
        victim = {"site": pid, "fork server": os.getppid(), "server": server}[fault["victim"]]
    os.kill(victim, fault["signal"])
    time.sleep(fault.get("pause", 0.3))


while flare.is_running():
    model = flare.receive()
    for call in range(fault.get("calls", 40)):
        number = model.current_round * 1_000_000 + call
        writer.record_metric(f"p{pid}", float(number), number)
        os.write(truth, b"%d\\n" % number)
        strike(model.current_round, call)
    flare.send(flare.FLModel(params=model.params, metrics={"accuracy": 0.5}, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
"""

JOB = """
import json, os, sys
from pathlib import Path
import numpy as np
from fedtrack.job import FedAvgJob, ScriptRunner

home = Path(os.environ["FAULTS_HOME"])
fault = json.loads((home / "fault.json").read_text())


def main():
    (home / "server").write_text(str(os.getpid()))
    job = FedAvgJob({"w": np.zeros(2, np.float32)}, n_clients=2, num_rounds=2, name="faults",
                    analytics_receiver=False, **fault.get("job", {}))
    job.to_clients(ScriptRunner(str(home / "client.py"), framework="numpy"))
    from fedtrack.plugins import registry
    import fedtrack_local.course
    fedtrack_local.course.STALL_SECONDS = fault.get("stall", 1.0)
    job.to_server(registry().receiver("file")(path=str(home / "backend"), mood=str(home / "mood")))
    exported = job.export_job(home / "export")
    from fedtrack.cli import main as fedtrack
    sys.argv = ["fedtrack", "run", str(exported), "--workspace", sys.argv[1]]
    fedtrack()


if __name__ == "__main__":
    main()
"""

#: A receiver whose backend is a file; ``mood`` says what the backend does.
PLUGIN = """
import json, os, time
from pathlib import Path
from fedtrack import Permanent, Receiver, ReceiverOptions, Transient, hookimpl
from fedtrack.tracking.records import Metric


class Options(ReceiverOptions, kw_only=True):
    path: str
    mood: str


class FileReceiver(Receiver):
    name = "file"
    summary = "Keeps the numbers of metrics in a file."
    supports = frozenset({Metric})
    Options = Options
    gather_seconds = 0.05

    def open(self, run):
        self._act("open", 0)

    def receive(self, batch):
        if self._act("receive", len(batch.records)):
            return
        lines = [json.dumps([batch.site, batch.stream, seq, record.key, record.value])
                 for seq, record in zip(batch.seqs, batch.records, strict=True)]
        with open(self.options.path, "a") as file:
            file.write("".join(line + "\\n" for line in lines))

    def flush(self):
        self._act("flush", 0)

    def count(self, sites):
        try:
            rows = {line for line in Path(self.options.path).read_text().splitlines()}
        except FileNotFoundError:
            rows = set()
        return {site: sum(json.loads(row)[0] == site for row in rows) for site in sites}

    def _act(self, call, size):
        try:
            mood = Path(self.options.mood).read_text()
        except FileNotFoundError:
            return False
        if mood in ("down", "500"):
            raise Transient(f"the backend is {mood}")
        if mood == "400" and call == "receive":
            raise Permanent("the backend answers 400")
        if mood == "200 {}":
            return call == "receive"
        if mood == "slow":
            time.sleep(0.02)
        once = Path(self.options.mood + "-struck")
        if mood == f"abort once in {call}" and not once.exists():
            once.touch()
            os.abort()
        if mood == f"exit once in {call}" and not once.exists():
            once.touch()
            os._exit(3)
        if mood == f"hang in {call}":
            time.sleep(3600)
        return False


@hookimpl
def fedtrack_receivers():
    return [FileReceiver]
"""


class Bench:
    """One run with a fault.

    Args:
        home: An empty folder for everything but the workspace.
        site: The folder of installed distributions.
        workspace: The workspace; None means a folder of ``home``.
    """

    def __init__(self, home: Path, site: Path, workspace: Path | None = None) -> None:
        self.home, self.site = home, site
        self.workspace = workspace or home / "ws"
        for folder in (home, home / "truth"):
            folder.mkdir(exist_ok=True)
        (home / "client.py").write_text(CLIENT)
        (home / "job.py").write_text(JOB)
        self.output = ""

    @property
    def run_folder(self) -> Path:
        """The server's folder of the run, also if the workspace keeps runs in numbered folders."""
        return self.workspace / "server" / "simulate_job"

    def mood(self, mood: str) -> None:
        """Tell the backend what to do from now on."""
        if mood:
            (self.home / "mood").write_text(mood)
        else:
            (self.home / "mood").unlink(missing_ok=True)

    def run(self, fault: Mapping[str, Any] | None = None, **options: Any) -> int:
        """Run the job and return the exit code; negative for a signal."""
        (self.home / "fault.json").write_text(json.dumps(dict(fault or {})))
        return self._execute([str(self.home / "job.py"), str(self.workspace)], **options)

    def command(self, *arguments: str, **options: Any) -> int:
        """Run a command of fedtrack in a process of its own and return the exit code."""
        return self._execute(["-m", "fedtrack", *arguments], **options)

    def facts(self) -> Facts:
        """Return what is in the files."""
        return read_facts(self.home, self.workspace)

    def _execute(self, arguments: list[str], *, closed_stdout: bool = False, stop_after: float | None = None) -> int:
        environment = os.environ | {
            "FAULTS_HOME": str(self.home),
            "FEDTRACK_SITE_VARIABLES": "FAULTS_HOME",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(self.site), os.environ.get("PYTHONPATH", "")])),
        }
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            if closed_stdout:
                process.stdout.close()
                return process.wait(_PATIENCE)
            self.output = process.communicate(timeout=_PATIENCE if stop_after is None else stop_after)[0]
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            self.output = process.communicate()[0]
        return process.returncode
