"""SummaryWriter: a writer with the calls of torch's and FLARE's ``SummaryWriter``."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from fedtrack.tracking import shorten
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Text
from fedtrack_tensorboard.arrays import histogram, raw_histogram
from fedtrack_tensorboard.rare_calls import RareCalls

log = logging.getLogger(__name__)


class SummaryWriter(RareCalls):
    """Logs with the calls of ``torch.utils.tensorboard.SummaryWriter``; every receiver of the job gets the records.

    A call returns when its records are durable, so ``flush`` and ``close`` have nothing to do. A bad value never
    raises: it is counted as rejected, with a warning. Arguments have torch's names and order; those of FLARE's writer,
    ``scalar`` and ``scalars``, are taken too.

    Args:
        log_dir: Not written to: the job's receivers decide where results are. ``log_dir`` reads as in torch.
        comment: The end of the default ``log_dir``.
        purge_step: Accepted and not used: no receiver deletes points.
        max_queue: Accepted and not used: no record waits in a queue of this process.
        flush_secs: See ``max_queue``.
        filename_suffix: Accepted and not used: this writer writes no event file.
        steps: ``"continue"`` makes one ascending count of steps that begin again in each round.
    """

    name = "tensorboard"
    summary = "TensorBoard's SummaryWriter"
    supports = frozenset({Metric, Param, Text, Image, Histogram, Artifact})

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
        *,
        steps: Literal["continue"] | None = None,
    ) -> None:
        super().__init__()
        if steps == "continue":
            self.continue_steps()
        self.purge_step = purge_step
        self.max_queue = max_queue
        self.flush_secs = flush_secs
        self.filename_suffix = filename_suffix
        self._log_dir = str(log_dir) if log_dir else _default_folder(comment)
        given = {"log_dir": log_dir, "comment": comment, "purge_step": purge_step, "filename_suffix": filename_suffix}
        if max_queue != 10 or flush_secs != 120:
            given |= {"max_queue": max_queue, "flush_secs": flush_secs}
        if used := [f"{key}={shorten(value)}" for key, value in given.items() if value not in (None, "")]:
            log.info(
                "SummaryWriter(%s): the receivers of the job decide where and how the results are written",
                ", ".join(used),
            )

    @property
    def log_dir(self) -> str:
        """The folder in which torch would write, for the script's own files; created when it is asked for."""
        try:
            Path(self._log_dir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if self._first_time("log_dir"):
                log.warning("SummaryWriter: the folder %r cannot be created: %s", self._log_dir, error.strerror)
        return self._log_dir

    def get_logdir(self) -> str:
        """Return ``log_dir``."""
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any = None,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
        *,
        scalar: Any = None,
    ) -> None:
        """Log one number.

        Args:
            tag: Its name.
            scalar_value: A number, numpy scalar or tensor of one element.
            global_step: The x axis; None lets the receiver count per tag.
            walltime: Seconds since the epoch; None means now.
            new_style: Not used: receivers choose how they write a number.
            double_precision: Not used: every number is a float64 until a receiver stores it.
            scalar: FLARE's name of ``scalar_value``.
        """
        if walltime is None and self._append_metric(tag, scalar_value, global_step):
            return
        value = scalar if scalar_value is None else scalar_value
        self._timed(tag, walltime, lambda time: self.record_metric(tag, value, global_step, time))

    def add_scalars(
        self,
        main_tag: str = "",
        tag_scalar_dict: Mapping[str, Any] | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
        *,
        tag: str | None = None,
        scalars: Mapping[str, Any] | None = None,
    ) -> None:
        """Log several numbers of one step as ``main_tag/name``, with one write; ``tag`` and ``scalars`` are FLARE's."""
        main = main_tag if tag is None else tag
        given: Any = tag_scalar_dict if scalars is None else scalars

        def write(time: int | None) -> None:
            metrics = {f"{main}/{name}": value for name, value in given.items()}
            self.record_metrics(metrics, global_step, time)

        self._timed(main, walltime, write)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Log text; TensorBoard shows it as Markdown."""
        self._timed(tag, walltime, lambda time: self.record_text(tag, text_string, global_step, time))

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Log an image, as a PNG.

        Args:
            tag: Its name.
            img_tensor: An array or tensor of 1 to 4 channels: floats from 0 to 1 or integers from 0 to 255.
            global_step: The x axis.
            walltime: Seconds since the epoch; None means now.
            dataformats: The meaning of each axis: ``"CHW"``, ``"HWC"``, ``"HW"`` or another order of these letters.
        """
        self._timed(
            tag, walltime, lambda time: self.record_pixels(tag, img_tensor, global_step, _axes(dataformats), time)
        )

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Log several images as one grid with up to 8 in a row; see ``add_image``."""
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: Sequence[str] | None = None,
    ) -> None:
        """Log an image with the outlines of boxes; ``labels`` are logged as the text ``<tag>/labels``."""

        def write(time: int | None) -> None:
            self.record_boxes(tag, img_tensor, box_tensor, global_step, dataformats, rescale, time)
            if labels is not None:
                self.record_text(f"{tag}/labels", ", ".join(str(label) for label in labels), global_step, time)

        self._timed(tag, walltime, write)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Log a figure of matplotlib, or each of a list as ``<tag>/<index>``; ``close`` closes it in pyplot."""

        def write(time: int | None) -> None:
            figures = figure if isinstance(figure, list | tuple) else [figure]
            for index, one in enumerate(figures):
                self.record_figure(f"{tag}/{index}" if len(figures) > 1 else tag, one, global_step, time)
                if close:
                    _close(one)

        self._timed(tag, walltime, write)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: int | None = None,
        fps: float = 4,
        walltime: float | None = None,
    ) -> None:
        """Log a video (NTCHW) as an animated PNG."""
        self._timed(tag, walltime, lambda time: self.record_video(tag, vid_tensor, global_step, fps, time))

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: int | str | Sequence[float] = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Log the distribution of values; NaN and infinities are left out.

        Args:
            tag: Its name.
            values: An array, tensor or sequence of numbers, of any shape.
            global_step: The x axis.
            bins: A number of buckets, their edges, or a rule of ``numpy.histogram`` such as ``"auto"``;
                ``"tensorflow"`` means 30 buckets of equal width.
            walltime: Seconds since the epoch; None means now.
            max_bins: The most buckets.
        """

        def write(time: int | None) -> None:
            edges, counts = histogram(values, bins, max_bins)
            self.record_histogram(tag, edges, counts, global_step, time)

        self._timed(tag, walltime, write)

    def add_histogram_raw(
        self,
        tag: str,
        min: Any,
        max: Any,
        num: Any,
        sum: Any,
        sum_squares: Any,
        bucket_limits: Any,
        bucket_counts: Any,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Log a histogram by the upper limits and the counts of its buckets.

        ``num``, ``sum`` and ``sum_squares`` are not stored: receivers compute them from the buckets.
        """

        def write(time: int | None) -> None:
            edges, counts = raw_histogram(min, max, bucket_limits, bucket_counts)
            self.record_histogram(tag, edges, counts, global_step, time)

        self._timed(tag, walltime, write)

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, Sequence[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Log hyperparameters as parameters, and the resulting metrics.

        Args:
            hparam_dict: Values by name.
            metric_dict: Values by name.
            hparam_domain_discrete: Not stored: the values that were possible.
            run_name: A trial: its names get the prefix ``<run_name>/``, so that trials of one site stay apart.
            global_step: The step of the metrics.
        """

        def write() -> None:
            prefix = f"{run_name}/" if run_name not in (None, "", ".") else ""
            params = {f"{prefix}{key}": value for key, value in dict(hparam_dict).items()}
            metrics = {f"{prefix}{key}": value for key, value in dict(metric_dict).items()}
            for key, value in params.items():
                self.record_param(key, value)
            self.record_metrics(metrics, global_step)

        self._made("hparams", write)

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

    def _timed(self, tag: Any, walltime: float | None, write: Any) -> None:
        """Call ``write`` with the time in nanoseconds; what it raises is counted as rejected."""
        self._made(tag, lambda: write(None if walltime is None else _nanoseconds(walltime)))


def _default_folder(comment: str) -> str:
    return f"runs/{datetime.now():%b%d_%H-%M-%S}_{socket.gethostname()}{comment}"


def _axes(dataformats: Any) -> str:
    if not isinstance(dataformats, str) or not dataformats:
        raise ValueError(f"dataformats is {shorten(dataformats)}; valid are letters such as 'CHW'")
    return dataformats


def _close(figure: Any) -> None:
    import sys

    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None and hasattr(figure, "savefig"):
        pyplot.close(figure)


def _nanoseconds(walltime: float) -> int:
    whole, fraction = divmod(float(walltime), 1)  # apart, because one float64 is exact only to 256 ns
    time = int(whole) * 10**9 + round(fraction * 1e9)
    if not 0 <= time < 2**63:
        raise ValueError(f"the walltime {walltime!r} is not in seconds since 1970")
    return time
