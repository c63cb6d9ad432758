"""scikit-learn: a call that logs an estimator; its fit has no callbacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn import metrics
from sklearn.base import is_classifier, is_regressor

from fedtrack.tracking import MediaWriter


def log_estimator(
    estimator: Any,
    X: Any = None,  # noqa: N803 - scikit-learn's name
    y: Any = None,
    *,
    prefix: str = "eval",
    step: int | None = None,
) -> dict[str, float]:
    """Log a fitted estimator: its parameters, the course of its fit, and its scores on ``X`` and ``y``.

    Args:
        estimator: Any estimator, pipeline or search.
        X: Samples of shape (samples, features); None logs no scores.
        y: Their labels or values, of shape (samples,).
        prefix: Put before the names of the scores.
        step: The step of the scores, such as the round; None if they are the only ones.

    Returns:
        The scores, without the prefix: accuracy, f1, precision and recall (weighted by the classes) and log_loss of a
        classifier, r2, mae and rmse of a regressor, and ``score`` of any other estimator that has one.
    """
    writer = MediaWriter()
    writer.record_params({"estimator": type(estimator).__name__, **estimator.get_params()})
    for name, values in _courses(estimator):
        for number, value in enumerate(values):
            writer.record_metric(name, value, number)
    scores = {} if X is None else dict(_scores(estimator, X, y))
    writer.record_metrics({f"{prefix}/{name}": value for name, value in scores.items()}, step)
    if hasattr(estimator, "cv_results_"):
        writer.record_params({"best": estimator.best_params_})
        results = {key: list(map(str, values)) for key, values in estimator.cv_results_.items()}
        writer.record_table("cv_results", results, "cv_results.json")
    return scores


def _courses(estimator: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an estimator keeps of its fit, iteration by iteration."""
    named = {"loss_curve_": "loss", "validation_scores_": "validation_score", "train_score_": "train_score"}
    for attribute, name in named.items():
        if (values := getattr(estimator, attribute, None)) is not None:
            yield name, values
    if hasattr(estimator, "cv_results_"):
        yield "cv/mean_test_score", estimator.cv_results_.get("mean_test_score", ())


def _scores(estimator: Any, samples: Any, y: Any) -> Iterator[tuple[str, float]]:
    if is_classifier(estimator):
        found = estimator.predict(samples)
        yield "accuracy", float(metrics.accuracy_score(y, found))
        weighted = metrics.precision_recall_fscore_support(y, found, average="weighted", zero_division=0)
        yield from zip(("precision", "recall", "f1"), map(float, weighted[:3]), strict=True)
        if hasattr(estimator, "predict_proba"):
            yield "log_loss", float(metrics.log_loss(y, estimator.predict_proba(samples), labels=estimator.classes_))
    elif is_regressor(estimator):
        found = estimator.predict(samples)
        yield "r2", float(metrics.r2_score(y, found))
        yield "mae", float(metrics.mean_absolute_error(y, found))
        yield "rmse", float(metrics.mean_squared_error(y, found)) ** 0.5
    elif hasattr(estimator, "score"):
        yield "score", float(estimator.score(samples) if y is None else estimator.score(samples, y))
