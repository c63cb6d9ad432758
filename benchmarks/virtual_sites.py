"""Many virtual sites, beside the same training in a loop of one plain PyTorch process.

``python -m benchmarks.virtual_sites 100 1000 10000`` prints one line per number of sites.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.hello_job import measure
from benchmarks.table import table

PAIRS = 3
ROUNDS = 3

#: What both sides do for one site: the same network, data and step.
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


def run(sizes: tuple[int, ...] = (100, 1000)) -> str:
    """Return the table."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, source in {"step": STEP, "plain": PLAIN, "client": CLIENT, "job": JOB}.items():
            (folder / f"{name}.py").write_text(source.replace("ROUNDS", str(ROUNDS)))
        for sites in sizes:
            rows += _measure(folder, sites)
    columns = (f"{ROUNDS} rounds, 1 step each", "wall", "CPU", "peak memory (PSS)", "wall per site and round")
    return table(columns, rows)


def _measure(folder: Path, sites: int) -> list[tuple[str, ...]]:
    commands = {
        f"{sites:,} sites: plain PyTorch, one process": [sys.executable, "plain.py", str(sites)],
        f"{sites:,} sites: fedtrack, every loss in the journal": [sys.executable, "job.py", str(sites), "ws", "none"],
        f"{sites:,} sites: fedtrack, and in TensorBoard": [sys.executable, "job.py", str(sites), "ws", "tensorboard"],
    }
    found: dict[str, list[Any]] = {name: [] for name in commands}
    for _ in range(PAIRS):
        for name, command in commands.items():
            found[name].append(measure(command, folder))
    plain = next(iter(found.values()))
    rows = []
    for name, runs in found.items():
        wall, cpu, memory = (
            median(run[i] / floor[i] for run, floor in zip(runs, plain, strict=True)) for i in range(3)
        )
        seconds = median(run[0] for run in runs)
        rows.append(
            (
                name,
                f"{seconds:.1f} s ({wall:.2f} x)",
                f"{median(run[1] for run in runs):.1f} s ({cpu:.2f} x)",
                f"{median(run[2] for run in runs) / 1024:.0f} MiB ({memory:.2f} x)",
                f"{seconds / sites / ROUNDS * 1000:.2f} ms",
            )
        )
    return rows


if __name__ == "__main__":
    print(run(tuple(int(size) for size in sys.argv[1:]) or (100, 1000)))
