"""Canary: secrets of a server are in no file, log, output, list of processes or environment of a site.

Each secret is a random text. A run uses it by a receiver that shows it in every way that Python has, and by MLflow,
whose server is down.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedtrack import plugins
from fedtrack.job import FedAvgJob, ScriptRunner
from support.throwaway import Install, install, site

__all__ = ["install", "site"]

pytestmark = [pytest.mark.slow, pytest.mark.threat("T8", "T9"), pytest.mark.timeout(300)]

LEAKY = """
import logging, sys, threading, warnings
import msgspec
from fedtrack import Receiver, ReceiverOptions, Results, Transient, hookimpl
from fedtrack.tracking.records import Metric

class Options(ReceiverOptions, kw_only=True):
    uri: str
    password: str

class Leaky(Receiver):
    name = "leaky"
    summary = "shows what it knows"
    supports = frozenset({Metric})
    Options = Options
    calls = 0

    def open(self, run):
        self.leak("open")

    def leak(self, where):
        known = f"{where} {self.options.uri} {self.options.password} {self.options!r}"
        print(known)
        print(known, file=sys.stderr)
        logging.getLogger("sdk").warning("%s", known)
        logging.getLogger("sdk").error("failed", exc_info=ValueError(known))
        warnings.warn(known)
        thread = threading.Thread(target=self.fail, args=(known,))
        thread.start(), thread.join()
        type(self).calls += 1
        if self.calls % 3:
            raise Transient(known) from ValueError(known)

    def fail(self, known):
        raise KeyError(known)

    def receive(self, batch):
        self.leak("receive")
        raise RuntimeError(f"refused by {self.options.uri}")

    def close(self, status):
        raise OSError(self.options.password)

    def results(self):
        return Results(self.options.uri, f"show --password {self.options.password}")

@hookimpl
def fedtrack_receivers():
    return (Leaky,)
"""

SCRIPT = """
import os, sys, time
from pathlib import Path
import fedtrack.client as flare
from fedtrack.client.tracking import SummaryWriter

def snoop(path):
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""

flare.init()
seen = b"".join(snoop(f"/proc/{pid}/cmdline") for pid in os.listdir("/proc") if pid.isdigit())
seen += snoop(f"/proc/{os.getppid()}/environ") + repr(dict(os.environ)).encode()
Path(f"seen-{flare.get_site_name()}").write_bytes(seen)
writer = SummaryWriter()
while flare.is_running():
    model = flare.receive()
    for step in range(20):
        writer.add_scalar("loss", 1.0, step)
    if "crash" in sys.argv:
        raise RuntimeError(f"the script knows {sorted(os.environ)}")
    if "wait" in sys.argv:
        Path("waiting").touch()
        time.sleep(60)
    flare.send(flare.FLModel(params=model.params))
"""


SOAK = pytest.mark.skipif(os.environ.get("FEDTRACK_SOAK") != "1", reason="takes half a minute more: make soak")


@pytest.mark.parametrize(
    "how",
    [pytest.param("", id="success"), pytest.param("crash", id="crash", marks=SOAK), pytest.param("wait", id="ctrl-c")],
)
def test_no_secret_is_anywhere(
    how: str, tmp_path: Path, install: Install, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("fedtrack-leaky", LEAKY)
    monkeypatch.setenv("PYTHONPATH", str(site))
    names = ("LEAKY_PASSWORD", "MLFLOW_PW", "GITHUB_TOKEN", "HF_TOKEN")
    canaries = {name: f"canary{os.urandom(12).hex()}" for name in names}
    for name, value in canaries.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "client.py").write_text(SCRIPT)
    job = FedAvgJob({"w": np.zeros(2, np.float32)}, n_clients=2, num_rounds=1, name="canary", analytics_receiver=False)
    job.to_clients(ScriptRunner(str(tmp_path / "client.py"), how, framework="numpy"))
    registry = plugins.registry()
    uri = "http://me:${ENV:LEAKY_PASSWORD}@127.0.0.1:9/?token=${ENV:LEAKY_PASSWORD}"
    job.to_server(registry.receiver("leaky")(uri=uri, password="${ENV:LEAKY_PASSWORD}"), id="leaky")  # noqa: S106
    job.to_server(registry.receiver("mlflow")(tracking_uri="http://me:${ENV:MLFLOW_PW}@127.0.0.1:9"), id="mlflow")
    job.to_server(registry.receiver("tensorboard")(), id="tensorboard")
    exported, workspace = job.export_job(tmp_path / "jobs"), tmp_path / "ws"
    command = [sys.executable, "-m", "fedtrack", "-v", "run", str(exported), "-w", str(workspace)]
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=tmp_path, start_new_session=True)
        if how == "wait":
            while process.poll() is None and not list(workspace.rglob("waiting")):
                os.sched_yield()
            process.send_signal(signal.SIGINT)
        process.wait(240)
        for arguments in (["show", str(workspace)], ["dlq", "list", str(workspace)], ["status", str(workspace)]):
            words = [sys.executable, "-m", "fedtrack", "runs", *arguments]
            subprocess.run(words, stdout=output, stderr=output, timeout=60)
    text = (tmp_path / "output").read_text(errors="replace")
    assert "${ENV:LEAKY_PASSWORD}" in text, "the receiver has said nothing, and so proves nothing"
    assert list(workspace.rglob("seen-site-*"))
    found = [
        (str(path), name)
        for path in tmp_path.rglob("*")
        if path.is_file() and not path.is_symlink()
        for name, value in canaries.items()
        if value.encode() in path.read_bytes()
    ]
    assert found == []
