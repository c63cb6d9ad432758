"""A site in namespaces of its own, by one line of the job: it trains as always, and sees less."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fedtrack.job import FedAvgJob, ScriptRunner

UNSHARE = "unshare --user --map-root-user --mount --pid --fork --mount-proc --kill-child"

CLIENT = """
import json, os, sys
from pathlib import Path
import fedtrack.client as flare

flare.init()
seen = [str(path) for path in Path(sys.argv[1]).glob("runs/*/server/**/journal.db")]
Path(f"seen-{flare.get_site_name()}.json").write_text(json.dumps([seen, os.getpid()]))
while flare.is_running():
    model = flare.receive()
    flare.send(flare.FLModel(params={"w": model.params["w"] + 1}))
"""


def _can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*UNSHARE.split(), "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not _can_unshare(), reason="this system lets no user make namespaces")
@pytest.mark.threat("T10")
def test_a_site_in_a_sandbox_takes_part_and_does_not_see_the_servers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "client.py").write_text(CLIENT)
    workspace = tmp_path / "ws"
    hide = f'for d in {workspace}/runs/*/server; do mount -t tmpfs none $d; done; exec "$@"'
    command = f"{UNSHARE} sh -c {shlex.quote(hide)} sh python3 -u"
    job = FedAvgJob({"w": np.zeros(3, np.float32)}, n_clients=2, num_rounds=1, analytics_receiver=False)
    job.to_clients(
        ScriptRunner("client.py", str(workspace), framework="numpy", launch_external_process=True, command=command)
    )
    result = job.simulator_run(workspace)
    assert [entry.sites for entry in result.rounds] == [["site-1", "site-2"]]
    seen = [path.read_text() for path in workspace.rglob("seen-site-*.json")]
    assert [text.startswith("[[], ") for text in seen] == [True, True]
    assert list(workspace.glob("runs/*/server/**/journal.db")) != []
