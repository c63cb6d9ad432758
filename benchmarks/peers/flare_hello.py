"""The hello job in NVIDIA FLARE's simulator, tracked or not; run by FLARE's own interpreter, see ``hello.py``."""

from __future__ import annotations

import argparse
from pathlib import Path

CLIENT = """
import sys
import nvflare.client as flare
from nvflare.client.tracking import MLflowWriter, SummaryWriter
from hello_training import LocalSite

flare.init()
log = {"mlflow": lambda: MLflowWriter().log_metric, "tensorboard": lambda: SummaryWriter().add_scalar}
log = log[sys.argv[1]]() if sys.argv[1] in log else None
site = LocalSite(flare.get_site_name())
while flare.is_running():
    received = flare.receive()
    site.net.load_state_dict(received.params)
    steps, accuracy = site.play(received.current_round, log)
    meta = {"NUM_STEPS_CURRENT_ROUND": steps}
    flare.send(flare.FLModel(params=site.net.state_dict(), metrics={"accuracy": accuracy}, meta=meta))
"""


def main() -> None:
    from nvflare.app_opt.pt.recipes.fedavg import FedAvgRecipe
    from nvflare.recipe import SimEnv, add_experiment_tracking

    from fedtrack_examples.simple_network import SimpleNetwork

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where to work")
    parser.add_argument("--tracking", choices=("none", "tensorboard", "mlflow"), default="mlflow")
    args = parser.parse_args()
    script = args.folder / "client.py"
    script.write_text(CLIENT)
    recipe = FedAvgRecipe(
        name="hello",
        model=SimpleNetwork(),
        min_clients=2,
        num_rounds=5,
        train_script=str(script),
        train_args=args.tracking,
    )
    if args.tracking != "none":
        add_experiment_tracking(recipe, args.tracking)
    recipe.execute(SimEnv(num_clients=2, workspace_root=str(args.folder / "ws")))


if __name__ == "__main__":
    main()
