"""The server app."""

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from digits_app.task import new_model
from fedtrack_flower import track

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Average the models of all nodes, round by round."""
    strategy = track(FedAvg(min_available_nodes=2), context)
    strategy.start(
        grid=grid,
        initial_arrays=ArrayRecord(new_model().state_dict()),
        num_rounds=int(context.run_config["num-server-rounds"]),
    )
