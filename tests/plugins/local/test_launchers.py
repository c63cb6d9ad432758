"""External scripts behind real launchers: the job completes, every rank takes part, and no file is written to."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pytest

from fedtrack.errors import JobError
from fedtrack.job import FedAvgJob, ScriptRunner
from fedtrack.journal.journal import Journal
from fedtrack.runs.result import RunResult
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, decode
from fedtrack_local.models.params import load_params

pytestmark = pytest.mark.slow

#: Many files are open before the script joins, so that a descriptor's number that is not its own would be one of them.
CLIENT = """
import os, sys, tempfile
files = [tempfile.TemporaryFile("w+") for _ in range(12)]
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer
flare.init()
rank = int(os.environ.get("RANK", 0))
BEFORE
while flare.is_running():
    model = flare.receive()
    Writer().record_metric(f"rank-{rank}", float(model.params["w"][0]), model.current_round)
    TRAIN
    flare.send(flare.FLModel(params={"w": model.params["w"] + 1}, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
for file in files:
    file.seek(0)
    assert file.read() == ""
AFTER
"""

WRAPPER = """
import subprocess, sys
raise SystemExit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)
"""

GLOO = """
import torch.distributed as dist
dist.init_process_group("gloo")
"""

AGREE = """
    import torch
    mine = torch.from_numpy(model.params["w"].copy())
    dist.all_reduce(mine)
    assert mine.tolist() == [dist.get_world_size() * w for w in model.params["w"]]
"""

TORCHRUN = "python3 -m torch.distributed.run --nproc_per_node={} --standalone"


def run(
    folder: Path, command: str, *, before: str = "", train: str = "", after: str = "", rounds: int = 3, **files: str
) -> RunResult:
    """Run a job of one site whose script is started by ``command``."""
    script = CLIENT.replace("BEFORE", before).replace("    TRAIN", train).replace("AFTER", after)
    (folder / "client.py").write_text('if __name__ == "__main__":\n' + indent(script, "    "))
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    initial: dict[str, Any] = {"w": np.zeros(2, np.float32)}
    job = FedAvgJob(
        name="launched", n_clients=1, num_rounds=rounds, initial_model=initial, analytics_receiver=False,
        idle_timeout=60.0 if "net_py" not in files else 300.0,  # Lightning takes long to import, in each process
    )  # fmt: skip
    job.to_clients(ScriptRunner("client.py", framework="numpy", launch_external_process=True, command=command))
    return job.simulator_run(folder / "ws")


def logged(result: RunResult) -> Counter[tuple[str, float]]:
    journal = Journal(result.folder / "journal.db")
    found = [
        decode(payload)
        for batch in journal.read(0)
        if batch.site == "site-1"
        for _, payload in frames.split(batch.body)
    ]
    journal.close()
    return Counter((one.key, one.value) for one in found if isinstance(one, Metric))


def check(result: RunResult, ranks: int = 1, rounds: int = 3) -> None:
    assert result.status == "completed"
    model = load_params(result.folder / "app_server" / "FL_global_model.safetensors")
    assert model["w"].tolist() == [rounds, rounds]
    expected = Counter((f"rank-{rank}", float(number)) for rank in range(ranks) for number in range(rounds))
    assert logged(result) == expected
    site = result.sites["site-1"]
    assert (site.logged, site.journaled) == (ranks * rounds, ranks * rounds)
    assert result.events_complete


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "python3 -u",
        "python3 wrap.py",
        "sh run.sh",
        "nohup python3",
        "setsid python3",
        "setsid --fork python3",
        "env OWN=1 python3",
        "env OWN=1 python3 -m nets.client",
        "env -u PATH " + sys.executable,
    ],
)
def test_a_launcher_may_close_descriptors_or_end_first(folder: Path, command: str) -> None:
    (folder / "nets").mkdir()
    (folder / "nets" / "__init__.py").touch()
    (folder / "nets" / "client.py").write_text("from .client_itself import *")
    (folder / "nets" / "client_itself.py").write_text(
        CLIENT.replace("BEFORE", "").replace("    TRAIN", "").replace("AFTER", "")
    )
    check(run(folder, command, wrap_py=WRAPPER, run_sh='exec python3 -u "$@"'))


@pytest.mark.parametrize("processes", [1, 2])
def test_torchrun_with_collectives_in_each_round(folder: Path, processes: int) -> None:
    check(run(folder, TORCHRUN.format(processes), before=GLOO, train=AGREE), processes)


def test_torchrun_with_ranks_that_do_not_wait_for_each_other(folder: Path) -> None:
    before = "import time\nif rank: time.sleep(2)"  # by then rank 0 may have answered every task
    check(run(folder, TORCHRUN.format(2), before=before), 2)


def test_torchrun_starts_a_training_again_that_crashed_in_mid_round(folder: Path) -> None:
    crash = """
    from pathlib import Path
    if model.current_round == 1 and not Path("crashed").exists():
        Path("crashed").touch()
        os._exit(9)
"""
    command = TORCHRUN.format(1) + " --max-restarts=1"
    result = run(folder, command, train=crash)
    assert result.status == "completed"
    assert logged(result) == Counter({("rank-0", 0.0): 1, ("rank-0", 1.0): 2, ("rank-0", 2.0): 1})
    assert (folder / "ws" / "job" / "launched" / "app_site-1" / "custom" / "crashed").exists()


@pytest.mark.skipif(importlib.util.find_spec("accelerate") is None, reason="accelerate is not installed")
def test_accelerate_launch(folder: Path) -> None:
    # With --multi_gpu it starts two processes also where no GPU is; with --cpu it would need MPI for that.
    command = (
        "accelerate launch --multi_gpu --num_processes=2 --num_machines=1 --mixed_precision=no --dynamo_backend=no"
    )
    check(run(folder, command, before=GLOO, train=AGREE), 2)


NET = """
import lightning, torch
from torch.utils.data import DataLoader, TensorDataset

class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch, index):
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

def fit(strategy):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    off = dict.fromkeys(quiet, False)
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", devices=2, strategy=strategy, **off)
    trainer.fit(Net(), DataLoader(TensorDataset(torch.ones(8, 2)), batch_size=2))
    assert trainer.world_size == 2
"""


@pytest.mark.skipif(importlib.util.find_spec("lightning") is None, reason="lightning is not installed")
@pytest.mark.parametrize(("strategy", "ranks"), [("ddp", 2), ("ddp_spawn", 1)])
def test_lightning_starts_further_ranks(folder: Path, strategy: str, ranks: int) -> None:
    # With ddp, Lightning starts the script again for each rank; with ddp_spawn, rank 1 only trains.
    before = 'import net\nrank = int(os.environ.get("LOCAL_RANK", 0))'
    check(run(folder, "python3 -u", before=before, train=f"    net.fit({strategy!r})", rounds=2, net_py=NET), ranks, 2)


def test_rank_given_by_the_script_is_the_one_that_counts(folder: Path) -> None:
    launcher = """
import os, subprocess, sys
os.environ["WORLD_SIZE"] = "2"
processes = [subprocess.Popen([sys.executable, *sys.argv[1:], str(rank)]) for rank in range(2)]
raise SystemExit(max(process.wait() for process in processes))
"""
    before = "rank = int(sys.argv[1])\nflare.init(rank=str(rank))"
    check(run(folder, "python3 both.py", before=before, both_py=launcher), 2)


def test_a_launcher_that_hides_a_failure_does_not_hide_its_reason(folder: Path) -> None:
    swallow = "import subprocess, sys\nsubprocess.run([sys.executable, *sys.argv[1:]])"
    with pytest.raises(JobError, match="the training script raised ValueError: no data for round 0"):
        run(folder, "python3 wrap.py", train="    raise ValueError('no data for round 0')", wrap_py=swallow)


def test_a_launcher_that_clears_the_environment_is_told_what_it_must_pass_on(folder: Path) -> None:
    with pytest.raises(JobError) as caught:
        run(folder, f"env -i PATH=/usr/bin:/bin {sys.executable}")
    said = (folder / "ws" / "site-1" / "simulate_job" / "log.txt").read_text()
    assert "must pass on the environment variables whose names begin with FEDTRACK_" in said
    assert "exited with status 1" in str(caught.value)
    result = run(
        folder,
        "sh keep.sh",
        keep_sh=f'exec env -i FEDTRACK_CLIENT_BACKEND="$FEDTRACK_CLIENT_BACKEND" '
        f'FEDTRACK_SITE_SPEC="$FEDTRACK_SITE_SPEC" {sys.executable} "$@"',
    )
    check(result)


def test_a_script_that_closes_all_descriptors_spoils_no_file_and_goes_on(folder: Path) -> None:
    daemon = """
    if model.current_round == 1:
        os.closerange(3, 4096)
        results = open("results.txt", "w+")
        more = [open(os.devnull) for _ in range(60)]
"""
    result = run(folder, "python3 -u", train=daemon, after="os._exit(0)", before="files.clear()")
    assert result.status == "completed"
    custom = folder / "ws" / "job" / "launched" / "app_site-1" / "custom"
    assert (custom / "results.txt").read_bytes() == b""


def test_the_run_leaves_no_socket(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = (
        Path(os.environ.get("TMPDIR", "/tmp")) / f"runtime-{os.getpid()}"
    )  # no name that another run, which removes what killed runs left, could take for its own
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    try:
        check(run(folder, "python3", rounds=1), rounds=1)
        assert list(runtime.iterdir()) == []
    finally:
        runtime.rmdir()
