"""XGBoost: one callback."""

import xgboost
from sklearn.datasets import load_digits

from fedtrack_loops.xgboost import FedtrackCallback


def main() -> None:
    """Boost five times."""
    images, labels = load_digits(return_X_y=True)
    training = xgboost.DMatrix(images[:1400], labels[:1400])
    held_out = xgboost.DMatrix(images[1400:], labels[1400:])
    settings = {"objective": "multi:softprob", "num_class": 10, "max_depth": 3, "nthread": 1}
    xgboost.train(
        settings,
        training,
        num_boost_round=5,
        evals=[(training, "train"), (held_out, "eval")],
        callbacks=[FedtrackCallback()],
        verbose_eval=False,
    )


if __name__ == "__main__":
    main()
