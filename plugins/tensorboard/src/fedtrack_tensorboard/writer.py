"""SummaryWriter: a writer with the calls of torch's and FLARE's ``SummaryWriter``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from fedtrack import Writer
from fedtrack.tracking.records import Histogram, Image, Metric, Param, Text
from fedtrack_tensorboard.images import as_array, encode_png, pixels_of

#: TensorBoard's own number of buckets.
_BINS = 30


class SummaryWriter(Writer):
    """Logs with the calls of ``torch.utils.tensorboard.SummaryWriter``; every receiver of the job gets the records.

    A call returns when its records are durable, so ``flush`` and ``close`` have nothing to do. A bad value never
    raises: it is counted as rejected, with a warning.
    """

    name = "tensorboard"
    summary = "TensorBoard's SummaryWriter"
    supports = frozenset({Metric, Param, Text, Image, Histogram})

    def add_scalar(self, tag: str, scalar: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        """Log one number.

        Args:
            tag: Its name.
            scalar: A number, numpy scalar or tensor of one element.
            global_step: The x axis; None lets the receiver count per tag.
            walltime: Seconds since the epoch; None means now.
        """
        if walltime is None:
            self.record_metric(tag, scalar, global_step)
            return
        try:
            time = _nanoseconds(walltime)
        except Exception as error:
            self.record_rejected(tag, error)
        else:
            self.record_metric(tag, scalar, global_step, time)

    def add_scalars(self, tag: str, scalars: Mapping[str, Any], global_step: int | None = None) -> None:
        """Log several numbers of one step as ``tag/name``, with one write."""
        try:
            metrics = {f"{tag}/{name}": value for name, value in scalars.items()}
        except Exception as error:
            self.record_rejected(tag, error)
        else:
            self.record_metrics(metrics, global_step)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None) -> None:
        """Log text; TensorBoard shows it as Markdown."""
        self.record_text(tag, text_string, global_step)

    def add_image(self, tag: str, img_tensor: Any, global_step: int | None = None, dataformats: str = "CHW") -> None:
        """Log an image, as a PNG.

        Args:
            tag: Its name.
            img_tensor: An array or tensor of 1 to 4 channels: floats from 0 to 1 or integers from 0 to 255.
            global_step: The x axis.
            dataformats: The meaning of each axis: ``"CHW"``, ``"HWC"``, ``"HW"`` or another order of these letters.
        """
        try:
            data = encode_png(pixels_of(img_tensor, dataformats))
        except Exception as error:
            self.record_rejected(tag, error)
        else:
            self.record_image(tag, data, global_step)

    def add_histogram(
        self, tag: str, values: Any, global_step: int | None = None, bins: int | str | Sequence[float] = _BINS
    ) -> None:
        """Log the distribution of values; NaN and infinities are left out.

        Args:
            tag: Its name.
            values: An array, tensor or sequence of numbers, of any shape.
            global_step: The x axis.
            bins: A number of buckets, their edges, or a rule of ``numpy.histogram`` such as ``"auto"``.
        """
        try:
            edges, counts = _histogram(values, bins)
        except Exception as error:
            self.record_rejected(tag, error)
        else:
            self.record_histogram(tag, edges, counts, global_step)

    def add_hparams(self, hparam_dict: Mapping[str, Any], metric_dict: Mapping[str, Any]) -> None:
        """Log hyperparameters as parameters, and the resulting metrics."""
        try:
            params, metrics = dict(hparam_dict), dict(metric_dict)
        except Exception as error:
            self.record_rejected("hparams", error)
            return
        for key, value in params.items():
            self.record_param(key, value)
        self.record_metrics(metrics)

    def flush(self) -> None:
        """Return at once: all records are durable already."""

    def close(self) -> None:
        """Return at once: a writer holds nothing open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _nanoseconds(walltime: float) -> int:
    whole, fraction = divmod(float(walltime), 1)  # apart, because one float64 is exact only to 256 ns
    time = int(whole) * 10**9 + round(fraction * 1e9)
    if not 0 <= time < 2**63:
        raise ValueError(f"the walltime {walltime!r} is not in seconds since 1970")
    return time


def _histogram(values: Any, bins: int | str | Sequence[float]) -> tuple[list[float], list[int]]:
    import numpy as np

    array = as_array(values)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"a histogram is of numbers, not of {array.dtype}")
    finite = array[np.isfinite(array)].astype(np.float64)
    if not finite.size:
        raise ValueError("there is no finite value to make a histogram of")
    # "tensorflow" is torch's default; its 1,549 exponential buckets are made for values of unknown range.
    chosen = _BINS if isinstance(bins, str) and bins == "tensorflow" else bins
    counts, edges = np.histogram(finite, bins=chosen)
    return edges.tolist(), counts.tolist()
