"""scikit-learn: one call after the fit."""

from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from fedtrack_loops.sklearn import log_estimator


def main() -> None:
    """Fit for thirty iterations at most."""
    images, labels = load_digits(return_X_y=True)
    model = MLPClassifier([32], max_iter=30, tol=0.01, random_state=0).fit(images[:1400], labels[:1400])
    log_estimator(model, images[1400:], labels[1400:])


if __name__ == "__main__":
    main()
