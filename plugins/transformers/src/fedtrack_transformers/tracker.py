"""FedtrackTracker: a tracker of Accelerate, whose logs go to fedtrack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from accelerate import tracking
from accelerate.tracking import GeneralTracker, on_main_process

from fedtrack.tracking import MediaWriter, table_of


class FedtrackTracker(GeneralTracker):  # type: ignore[misc]
    """Logs what ``Accelerator.log`` is given: ``Accelerator(log_with="fedtrack")``. Only the main process logs.

    Args:
        run_name: The project's name that ``init_trackers`` passes; the run has its name already, and it becomes a tag.
        steps: ``"continue"`` makes one ascending count of steps that begin again in each round.
    """

    name = "fedtrack"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, run_name: str = "", *, steps: Literal["continue"] | None = None) -> None:
        super().__init__()
        self._project = run_name
        self._steps = steps
        self._writer: MediaWriter | None = None

    @property
    def tracker(self) -> MediaWriter | None:
        """The writer, for what this class has no method for; None before ``init_trackers``."""
        return self._writer

    @on_main_process  # type: ignore[untyped-decorator]
    def start(self) -> None:
        """Make the writer; ``init_trackers`` calls this."""
        if self._writer is not None:
            return
        self._writer = MediaWriter()
        if self._steps == "continue":
            self._writer.continue_steps()
        if self._project:
            self._writer.record_tag("project", self._project)

    @on_main_process  # type: ignore[untyped-decorator]
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Log the configuration as hyperparameters."""
        self._open().record_params(values)

    @on_main_process  # type: ignore[untyped-decorator]
    def log(self, values: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log numbers as metrics, strings as text, and a dict of numbers as ``outer/inner``."""
        metrics: dict[str, Any] = {}
        for key, value in values.items():
            if isinstance(value, str):
                self._open().record_text(key, value, step)
            elif isinstance(value, Mapping):
                metrics |= {f"{key}/{inner}": item for inner, item in value.items()}
            else:
                metrics[key] = value
        if metrics:
            self._open().record_metrics(metrics, step)

    @on_main_process  # type: ignore[untyped-decorator]
    def log_images(self, values: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Log arrays (HWC) or pictures: one, or a list whose items are named ``<name>/0`` and so on."""
        for key, value in values.items():
            for index, image in enumerate(items := _images(value)):
                self._open().record_pixels(key if len(items) == 1 else f"{key}/{index}", image, step, _format(image))

    @on_main_process  # type: ignore[untyped-decorator]
    def log_table(
        self, table_name: str, columns: Any = None, data: Any = None, dataframe: Any = None, step: int | None = None
    ) -> None:
        """Log rows with the names of their columns, or a DataFrame, as W&B's tracker does."""
        table = dataframe if dataframe is not None else table_of(data or [], columns)
        self._open().record_table(table_name, table, f"{table_name}.table.json", step)

    @on_main_process  # type: ignore[untyped-decorator]
    def finish(self) -> None:
        """Do nothing: everything is on disk already, and the run may go on with another round."""

    def _open(self) -> MediaWriter:
        self.start()
        assert self._writer is not None  # noqa: S101 - narrows the type
        return self._writer


def _images(value: Any) -> list[Any]:
    if isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 4:
        return list(value)
    return [value]


def _format(image: Any) -> str:
    return {2: "HW", 3: "HWC"}.get(getattr(image, "ndim", 0), "")


if hasattr(tracking, "register_tracker_class"):
    tracking.register_tracker_class(FedtrackTracker)
else:  # Accelerate before 1.12
    tracking.LOGGER_TYPE_TO_CLASS["fedtrack"] = FedtrackTracker
