"""fedtrack-loops with Keras, XGBoost and scikit-learn themselves."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras", reason="Keras and XGBoost have an environment of their own: make loops-env")

import numpy as np
import xgboost
from sklearn.datasets import load_digits
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedtrack.testing import MemoryLog
from fedtrack.tracking import writer
from fedtrack.tracking.records import Artifact
from fedtrack_loops.sklearn import log_estimator
from fedtrack_loops.xgboost import FedtrackCallback
from support.training_loops import Logged, logged, metrics, params, rejected, run_example

__all__ = ["logged"]

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # the libraries' own


@pytest.fixture
def log(tmp_path: Path) -> Any:
    found = MemoryLog(tmp_path)
    before = writer.bind(found)
    yield found
    writer.bind(before)


def test_keras_is_tracked(logged: Logged) -> None:
    run_example("keras_digits.py")
    found = logged()
    assert [step for step, _ in metrics(found, "loss")] == [0, 1]
    assert [step for step, _ in metrics(found, "val_accuracy")] == [0, 1]
    assert [step for step, _ in metrics(found, "batch/loss")] == list(range(28))
    assert [step for step, _ in metrics(found, "test/loss")] == [2]  # that of evaluate, and none of the fit's
    assert metrics(found, "test/loss")[0][1] == pytest.approx(metrics(found, "val_loss")[1][1], rel=1e-4)
    assert params(found)["optimizer/learning_rate"] == pytest.approx(0.01)
    assert rejected(found) == []


def test_xgboost_is_tracked(logged: Logged) -> None:
    run_example("xgboost_digits.py")
    found = logged()
    losses = metrics(found, "eval-mlogloss")
    assert [step for step, _ in losses] == list(range(5))
    assert losses[-1][1] < losses[0][1]
    assert params(found)["max_depth"] == "3"
    assert rejected(found) == []


def test_cross_validation_and_early_stopping_of_xgboost(log: MemoryLog) -> None:
    images, labels = load_digits(return_X_y=True)
    data = xgboost.DMatrix(images[:300], labels[:300] == 3)
    settings = {"objective": "binary:logistic", "nthread": 1, "max_depth": 2}
    xgboost.cv(settings, data, num_boost_round=2, nfold=2, callbacks=[FedtrackCallback()])
    found: Any = log.records
    assert [step for step, _ in metrics(found, "test-logloss-mean")] == [0, 1]
    assert [step for step, _ in metrics(found, "test-logloss-std")] == [0, 1]
    tracked = FedtrackCallback()
    xgboost.train(
        settings, data, 30, [(data, "held")], early_stopping_rounds=2, callbacks=[tracked], verbose_eval=False
    )
    assert len(metrics(log.records, "best_score")) == 1  # type: ignore[arg-type]
    assert rejected(found) == []


def test_sklearn_is_tracked(logged: Logged) -> None:
    run_example("sklearn_digits.py")
    found = logged()
    losses = metrics(found, "loss")
    assert [step for step, _ in losses] == list(range(len(losses)))
    assert len(losses) > 5
    assert metrics(found, "eval/accuracy")[0][1] > 0.8
    assert params(found)["estimator"] == "MLPClassifier"
    assert rejected(found) == []


def test_a_search_a_pipeline_and_a_regressor(log: MemoryLog) -> None:
    images, labels = load_digits(return_X_y=True)
    images, labels = images[:200], labels[:200]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=20))
    search = GridSearchCV(pipeline, {"logisticregression__C": [0.1, 1.0]}, cv=2).fit(images, labels)
    scores = log_estimator(search, images, labels, prefix="held", step=4)
    found: Any = log.records
    assert metrics(found, "held/accuracy") == [(4, pytest.approx(search.score(images, labels)))]
    assert [step for step, _ in metrics(found, "cv/mean_test_score")] == [0, 1]
    assert "best/logisticregression__C" in params(found)
    assert [record.path for record in found if isinstance(record, Artifact)] == ["cv_results.json"]
    assert set(scores) == {"accuracy", "precision", "recall", "f1", "log_loss"}
    line = LinearRegression().fit(np.arange(4.0).reshape(-1, 1), np.arange(4.0))
    assert log_estimator(line, np.arange(4.0).reshape(-1, 1), np.arange(4.0))["r2"] == pytest.approx(1)
    assert rejected(log.records) == []  # type: ignore[arg-type]
