"""What plain Python can do, a site can: processes of every kind that return and log what the script defines."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from fedtrack.errors import JobError
from fedtrack.journal.journal import Journal
from fedtrack.runs.result import RunResult
from fedtrack.spool import frames
from fedtrack.tracking.records import Metric, decode

from .conftest import MakeJob

pytestmark = pytest.mark.slow

SCRIPT = """
import multiprocessing, os, pickle, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
import fedtrack.client as flare
from fedtrack.tracking.writer import Writer


@dataclass
class Part:
    value: int


def work(value):
    return Part(value + 1)


def log(key, queue=None):
    Writer().record_metric(key, 1.0, 0)
    if queue is not None:
        queue.put(Part(7))


def train(model):
    TRAIN


if __name__ == "__main__":
    flare.init()
    while flare.is_running():
        model = flare.receive()
        train(model)
        flare.send(flare.FLModel(params=model.params, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
"""

APP = """
import multiprocessing, pickle, threading, time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
import fedtrack.client as flare
from fedtrack.client import ClientApp, FLModel
from fedtrack.tracking.writer import Writer

app, pool = ClientApp(), ThreadPoolExecutor(1)


@dataclass
class Part:
    value: int


def work(value):
    return Part(value + 1)


def late(site):
    time.sleep(0.2)
    assert flare.get_site_name() == site
    for _ in range(10):
        Writer().record_metric("late-" + site, 1.0, 0)


@app.train
def train(model, site):
    TRAIN
    return FLModel(params=model.params, metrics={})
"""


def logged(result: RunResult) -> Counter[tuple[str, str]]:
    journal = Journal(result.folder / "journal.db")
    found = [
        (batch.site, decode(payload))
        for batch in journal.read(0)
        if batch.site != "server"
        for _, payload in frames.split(batch.body)
    ]
    journal.close()
    return Counter((site, record.key) for site, record in found if isinstance(record, Metric))


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("external", [False, True], ids=["forked", "external"])
def test_workers_return_objects_of_the_scripts_own_classes(
    method: str, external: bool, make_job: MakeJob, tmp_path: Path
) -> None:
    train = f"""
    context = multiprocessing.get_context({method!r})
    with context.Pool(1) as workers:
        assert workers.map(work, [1, 2]) == [Part(2), Part(3)]
    with ProcessPoolExecutor(1, mp_context=context) as workers:
        assert workers.submit(work, 3).result() == Part(4)
    queue = context.Queue()
    process = context.Process(target=log, args=("child", queue))
    process.start()
    assert queue.get() == Part(7)
    process.join()
    assert pickle.loads(pickle.dumps(Part(1))) == Part(1)
    """
    job = make_job(train, script=SCRIPT, external=external, n_clients=1, num_rounds=1, idle_timeout=60.0)
    result = job.simulator_run(tmp_path / "ws")
    assert result.status == "completed"
    assert logged(result) == Counter({("site-1", "child"): 1})
    assert (result.sites["site-1"].logged, result.sites["site-1"].journaled) == (1, 1)
    assert result.events_complete


@pytest.mark.parametrize("external", [False, True], ids=["forked", "external"])
def test_a_program_that_a_script_starts_can_log(external: bool, make_job: MakeJob, tmp_path: Path) -> None:
    train = """
    program = "from fedtrack.client import log; log('by-log', 1.0); "
    program += "import fedtrack.client as f; f.init(); f.log('by-init', 1.0)"
    subprocess.run([sys.executable, "-c", program], check=True)
    subprocess.Popen([sys.executable, "-c", program], close_fds=False, start_new_session=True).wait()
    refused = "import fedtrack.client as f; f.init(); f.receive()"
    done = subprocess.run([sys.executable, "-c", refused], capture_output=True, text=True)
    assert f"the process {os.getpid()} gets the tasks of this site" in done.stderr, done.stderr
    log("own")
    """
    job = make_job(train, script=SCRIPT, external=external, n_clients=2, num_rounds=1, idle_timeout=60.0)
    result = job.simulator_run(tmp_path / "ws")
    expected = Counter({(f"site-{n}", key): count for n in (1, 2) for key, count in (("by-log", 2), ("by-init", 2))})
    expected.update({("site-1", "own"): 1, ("site-2", "own"): 1})
    assert logged(result) == expected
    assert result.events_complete


def test_an_app_of_many_sites_is_a_real_module_and_its_threads_keep_their_site(
    make_virtual_job: MakeJob, tmp_path: Path
) -> None:
    train = """
    assert pickle.loads(pickle.dumps(Part(1))) == Part(1)
    if site.index == 0:
        with multiprocessing.get_context("spawn").Pool(1) as workers:
            assert workers.map(work, [1]) == [Part(2)]
    threading.Thread(target=late, args=(site.name,)).start()
    pool.submit(late, site.name)
    """
    result = make_virtual_job(train, app=APP, n_clients=3, num_rounds=1).simulator_run(tmp_path / "ws")
    assert logged(result) == Counter({(f"site-{n}", f"late-site-{n}"): 20 for n in (1, 2, 3)})
    for site in ("site-1", "site-2", "site-3"):
        assert (result.sites[site].logged, result.sites[site].journaled) == (20, 20)
    assert result.events_complete


#: What ``torch.multiprocessing.spawn`` starts.
RANKS = """
def rank(number, folder, failing):
    import torch, torch.distributed as dist
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2)
    found = torch.tensor([number + 1.0])
    dist.all_reduce(found)
    assert found.item() == 3.0
    log(f"rank-{number}")
    dist.destroy_process_group()
    if number == failing:
        raise ValueError("no data at this rank")


def log("""


@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize(("external", "fails"), [(False, False), (True, True)], ids=["forked", "external, one fails"])
def test_torch_spawns_ranks_that_log(external: bool, fails: bool, make_job: MakeJob, tmp_path: Path) -> None:
    train = f"""
    import tempfile, torch.multiprocessing as mp
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(rank, args=(folder, {1 if fails else -1}), nprocs=2)
    """
    script = SCRIPT.replace("def log(", RANKS.lstrip(), 1)
    job = make_job(train, script=script, external=external, n_clients=1, num_rounds=1, idle_timeout=60.0)
    if fails:
        with pytest.raises(
            JobError, match=r"the training script raised ProcessRaisedException: .*no data at this rank"
        ):
            job.simulator_run(tmp_path / "ws")
        return
    result = job.simulator_run(tmp_path / "ws")
    assert logged(result) == Counter({("site-1", "rank-0"): 1, ("site-1", "rank-1"): 1})
    assert result.events_complete
