"""Keras: one callback. Run it with the backend that you have, such as KERAS_BACKEND=torch."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
from sklearn.datasets import load_digits

from fedtrack_loops.keras import FedtrackCallback


def main() -> None:
    """Train for two epochs, and score the model."""
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax")])
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    tracked = FedtrackCallback(update_freq="batch")
    data = (images[1400:], labels[1400:])
    model.fit(images[:1400], labels[:1400], 100, epochs=2, validation_data=data, verbose=0, callbacks=[tracked])
    model.evaluate(*data, verbose=0, callbacks=[tracked])


if __name__ == "__main__":
    main()
