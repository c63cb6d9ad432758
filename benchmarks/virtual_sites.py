"""Many virtual sites, compared with the same training in a loop of one plain PyTorch process.

``python -m benchmarks virtual_sites`` measures 1,000 sites, ``--full`` 100, 1,000 and 10,000.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.hello_job import measure
from benchmarks.table import Table, spread

title = "Many virtual sites"

ROUNDS = 3

#: The work for one site, which is the same in both programs: network, data and step.
STEP = """
import torch
from fedtrack_examples.simple_network import SimpleNetwork
from torch import nn

def batch(index):
    generator = torch.Generator().manual_seed(index)
    return torch.rand(20, 1, 8, 8, generator=generator), torch.randint(10, (20,), generator=generator)

def step(net, index):
    images, targets = batch(index)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    loss = nn.functional.cross_entropy(net(images), targets)
    loss.backward()
    optimizer.step()
    return loss.item()
"""

PLAIN = """
import sys
from step import SimpleNetwork, step, torch

if int(sys.argv[2]):
    torch.set_num_threads(int(sys.argv[2]))
torch.manual_seed(0)
model = SimpleNetwork(1, 8, 10).state_dict()
for current_round in range(ROUNDS):
    total = {name: torch.zeros_like(tensor) for name, tensor in model.items()}
    for index in range(int(sys.argv[1])):
        net = SimpleNetwork(1, 8, 10)
        net.load_state_dict(model)
        step(net, index)
        for name, tensor in net.state_dict().items():
            total[name] += tensor
    model = {name: tensor / int(sys.argv[1]) for name, tensor in total.items()}
"""

CLIENT = """
from fedtrack.client import ClientApp, FLModel
from fedtrack.client.tracking import SummaryWriter
from step import SimpleNetwork, step

app = ClientApp()

@app.train
def train(model, site):
    net = SimpleNetwork(1, 8, 10)
    net.load_state_dict(model.params)
    loss = step(net, site.index)
    SummaryWriter().add_scalar("loss", loss, model.current_round)
    return FLModel(params=net.state_dict(), metrics={"loss": loss})
"""

JOB = """
import sys
from fedtrack.job import ClientAppRunner, FedAvgJob

job = FedAvgJob(name="virtual", n_clients=int(sys.argv[1]), num_rounds=ROUNDS, key_metric="",
    initial_model={"path": "step.py:SimpleNetwork", "args": {"channels": 1, "size": 8, "classes": 10}},
    analytics_receiver=sys.argv[3] == "tensorboard")
job.to_clients(ClientAppRunner("client.py"))
result = job.simulator_run(sys.argv[2])
assert result.events_complete
assert all(len(item.sites) == int(sys.argv[1]) for item in result.rounds)
"""


def run(quick: bool = True) -> list[Table]:
    """Return a table for each number of sites."""
    tables = []
    with tempfile.TemporaryDirectory(prefix="fedtrack-virtual-") as temporary:
        folder = Path(temporary)
        for name, source in {"step": STEP, "plain": PLAIN, "client": CLIENT, "job": JOB}.items():
            (folder / f"{name}.py").write_text(source.replace("ROUNDS", str(ROUNDS)))
        for sites, pairs in ((1000, 2),) if quick else ((100, 5), (1000, 5), (10_000, 1)):
            tables.append(_measure(folder, sites, pairs))
    return tables


def _measure(folder: Path, sites: int, pairs: int) -> Table:
    commands = {
        "plain PyTorch, one process, torch's default threads": [sys.executable, "plain.py", str(sites), "0"],
        "plain PyTorch, one process, one thread": [sys.executable, "plain.py", str(sites), "1"],
        "fedtrack, every loss in the journal": [sys.executable, "job.py", str(sites), "ws", "none"],
        "fedtrack, every loss in TensorBoard too": [sys.executable, "job.py", str(sites), "ws", "tensorboard"],
    }
    found: dict[str, list[Any]] = {name: [] for name in commands}
    for _ in range(pairs):
        for name, command in commands.items():
            found[name].append(measure(command, folder))
    plain = next(iter(found.values()))
    rows = []
    for name, runs in found.items():
        ratios = [spread([run[i] / floor[i] for run, floor in zip(runs, plain, strict=True)]) for i in range(3)]
        per_turn = median(run[0] for run in runs) / sites / ROUNDS
        memory = f"{median(run[2] for run in runs) / 1024:.0f} MiB"
        rows.append((name, spread([run[0] for run in runs]), *ratios, memory, f"{per_turn * 1000:.2f} ms"))
    columns = (f"{sites:,} sites", "wall, s", "x plain, wall", "x plain, CPU", "x plain, memory")
    note = (
        f"{ROUNDS} rounds, in each of which every site takes one step on 20 images; imports and process start are "
        f"included. {pairs} runs of each, in turn; memory is the peak PSS of the process tree."
    )
    return Table(f"{title}: {sites:,}", (*columns, "peak memory", "wall per site and round"), rows, note)
