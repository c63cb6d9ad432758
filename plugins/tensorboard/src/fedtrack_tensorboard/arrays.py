"""Arrays: what the writer computes of the arrays and tensors of a script."""

from __future__ import annotations

import io
import math
import wave
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: TensorBoard's own number of buckets.
BINS = 30

#: torch ends its buckets with the largest float64, which stands for "everything above".
_NO_LIMIT = 1e300


def as_array(values: Any) -> NDArray[Any]:
    """Return numpy's view of an array, a tensor on any device, or nested sequences."""
    import numpy as np

    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if values.is_floating_point():
            values = values.double()  # numpy has no bfloat16
    return np.asarray(values)


def histogram(values: Any, bins: int | str | Sequence[float], max_bins: int | None) -> tuple[list[float], list[int]]:
    """Return the edges and counts of the finite values.

    Args:
        values: Numbers, in an array or tensor of any shape, or in sequences.
        bins: A number of buckets, their edges, or a rule of ``numpy.histogram``.
        max_bins: The most buckets; neighbours are put together. None means any number.

    Raises:
        ValueError: There is no finite number, or ``bins`` or ``max_bins`` is not valid.
    """
    import numpy as np

    array = as_array(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"a histogram is of numbers, not of {array.dtype}")
    finite = array[np.isfinite(array)].astype(np.float64)
    if not finite.size:
        raise ValueError("there is no finite value to make a histogram of")
    # "tensorflow" is torch's default; its 1,549 exponential buckets are made for values of unknown range.
    chosen = BINS if isinstance(bins, str) and bins == "tensorflow" else bins
    counts, edges = np.histogram(finite, bins=chosen)
    if max_bins is not None and len(counts) > max_bins:
        width = -(-len(counts) // max_bins)
        starts = range(0, len(counts), width)
        return [*edges[:-1:width].tolist(), float(edges[-1])], [int(counts[i : i + width].sum()) for i in starts]
    return edges.tolist(), counts.tolist()


def raw_histogram(low: Any, high: Any, limits: Any, counts: Any) -> tuple[list[float], list[float]]:
    """Return the edges and counts of buckets that are given by their upper limits, without those above ``high``."""
    ends = [float(limit) for limit in as_array(limits).ravel()]
    heights = [float(count) for count in as_array(counts).ravel()]
    if len(ends) != len(heights) or not ends:
        raise ValueError(f"there are {len(ends)} bucket limits and {len(heights)} counts; there must be equally many")
    if ends[-1] > _NO_LIMIT:
        ends[-1] = max(float(high), math.nextafter(ends[-2], math.inf) if len(ends) > 1 else float(high))
    first = min(float(low), math.nextafter(ends[0], -math.inf))
    return [first, *ends], heights


def wav(sound: Any, sample_rate: int) -> bytes:
    """Return a WAV file (16 bits, mono) of samples from -1 to 1.

    Args:
        sound: Samples of one channel, in any shape.
        sample_rate: Samples per second.
    """
    import numpy as np

    samples = np.nan_to_num(as_array(sound).astype(np.float64)).ravel().clip(-1, 1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(sample_rate))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def saved(**arrays: Any) -> bytes:
    """Return the arrays that are not None as an ``.npz`` file of numpy."""
    import numpy as np

    buffer = io.BytesIO()
    given: dict[str, Any] = {name: as_array(value) for name, value in arrays.items() if value is not None}
    np.savez_compressed(buffer, **given)
    return buffer.getvalue()


def precision_recall(labels: Any, predictions: Any, thresholds: int, weights: Any) -> dict[str, list[float]]:
    """Return the columns of a precision-recall curve, by ascending threshold from 0 to 1, as torch computes them.

    Args:
        labels: 0 or 1 for each element.
        predictions: The probability that each element's label is 1.
        thresholds: The number of thresholds, at least 2.
        weights: The weight of each element; None means 1.
    """
    import numpy as np

    truth, scores = as_array(labels).ravel().astype(bool), as_array(predictions).ravel().astype(np.float64)
    weight = np.ones(len(truth)) if weights is None else as_array(weights).ravel().astype(np.float64)
    at = np.linspace(0, 1, thresholds)
    counted = {"threshold": at}
    for name, mask, above in (("true_positives", truth, True), ("false_positives", ~truth, True)):
        counted[name] = np.array([weight[mask & ((scores >= limit) == above)].sum() for limit in at])
    positives, negatives = weight[truth].sum(), weight[~truth].sum()
    counted["true_negatives"] = negatives - counted["false_positives"]
    counted["false_negatives"] = positives - counted["true_positives"]
    found = counted["true_positives"] + counted["false_positives"]
    counted["precision"] = counted["true_positives"] / np.maximum(found, 1e-7)
    counted["recall"] = counted["true_positives"] / max(positives, 1e-7)
    return {name: column.tolist() for name, column in counted.items()}
