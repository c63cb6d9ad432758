"""WandBWriter: the calls of W&B's run for training scripts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import time_ns
from typing import Any, Literal

from fedtrack.tracking import Refused, shorten
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Tag, Text
from fedtrack_wandb import conversion
from fedtrack_wandb.run_calls import RunCalls
from fedtrack_wandb.settings_dicts import LoggedDict

log = logging.getLogger(__name__)

#: The deepest nesting of dicts; there is a limit because a dict may contain itself.
MAX_DEPTH = 16


class WandBWriter(RunCalls):
    """W&B's module and run in one: ``wandb = WandBWriter()`` in the place of ``import wandb``.

    A bad value never raises: it is counted as rejected, with a warning.

    Args:
        record_log: See Writer.
        steps: ``"continue"`` makes one ascending count of steps that begin again in each round.

    Attributes:
        config: The hyperparameters: attributes and items; each change is logged as a parameter.
        summary: The results: a number that is set is logged as a metric without a step, text as a tag.
    """

    name = "wandb"
    summary = "wandb's dialect: init, log with numbers, text, images and tables, config, summary, artifacts"
    supports = frozenset({Metric, Param, Tag, Text, Image, Histogram, Artifact})

    def __init__(self, record_log: Any = None, *, steps: Literal["continue"] | None = None) -> None:
        super().__init__(record_log)
        if steps == "continue":
            self.continue_steps()
        self.config = self.config_static = LoggedDict(self.record_param)
        self.__dict__["summary"] = LoggedDict(self._summarise)  # the class has listings' text under this name
        self._row_time: int | None = None
        self._plain: Callable[[Any, Any, Any], bool] = self._append_metrics

    def init(
        self,
        entity: str | None = None,
        project: str | None = None,
        dir: Any = None,
        id: str | None = None,
        name: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        config: Any = None,
        config_exclude_keys: list[str] | None = None,
        config_include_keys: list[str] | None = None,
        allow_val_change: bool | None = None,
        group: str | None = None,
        job_type: str | None = None,
        mode: str | None = None,
        force: bool | None = None,
        reinit: Any = None,
        resume: Any = None,
        resume_from: str | None = None,
        fork_from: str | None = None,
        save_code: bool | None = None,
        tensorboard: bool | None = None,
        sync_tensorboard: bool | None = None,
        monitor_gym: bool | None = None,
        settings: Any = None,
        anonymous: Any = None,
    ) -> WandBWriter:
        """Return the site's run, which is this writer; it is a context manager.

        ``config`` becomes parameters; ``notes``, ``tags`` and ``name`` become tags. The receiver of the job chooses
        project, entity, mode and everything else.
        """
        for attribute, value in (("project", project), ("entity", entity), ("group", group), ("job_type", job_type)):
            if value is not None:
                setattr(self, attribute, value)
        if self._first_time("init"):
            log.info("WandBWriter.init(): the receiver of the job chooses project, entity and mode")
        if config is not None:
            self._made("config", lambda: self._configure(config, config_include_keys, config_exclude_keys))
        if name is not None:
            self.record_tag("run_name", name)
        if notes is not None:
            self._made("notes", lambda: setattr(self, "notes", notes))
        if tags is not None:
            self._made("tags", lambda: setattr(self, "tags", tags))
        return self

    def log(
        self,
        data: Mapping[str, Any] | None = None,
        step: int | None = None,
        commit: bool | None = None,
        *,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        """Log the values of one step; the numbers become one row.

        Args:
            data: Numbers become metrics and strings become text; images, tables, histograms and other objects of W&B
                become what they are. A nested dict is flattened in W&B's way: ``{"val": {"loss": 1.0}}`` logs
                ``val.loss``. Any other value is counted as rejected.
            step: The script's step, or None; unlike W&B's, it may repeat and go backwards.
            commit: False means that the next call continues this row.
            metrics: FLARE's name of ``data``.
        """
        if commit is None and self._plain(data, step, None):
            return
        given = data if metrics is None else metrics
        if type(given) is not dict and not isinstance(given, Mapping):
            self.record_rejected("log", Refused(f"log() takes a dict of metrics, got {shorten(given)}"))
            return
        time = self._row_time or time_ns()
        self._log_row(given, step, time)
        # Records of one row have one time. While a row is open, no call may take the fast path, which reads the clock.
        self._row_time = time if commit is False else None
        self._plain = _never if commit is False else self._append_metrics

    def _log_row(self, data: Mapping[str, Any], step: int | None, time: int) -> None:
        numbers: dict[str, Any] = {}
        others: list[tuple[str, Any]] = []
        for key, value in _flatten(data):
            if type(value) is not float and (isinstance(value, str) or conversion.kind_of(value)):
                others.append((key, value))
            else:
                numbers[key] = value
        if numbers:
            self.record_metrics(numbers, step, time)
        for key, value in others:
            if isinstance(value, str):
                self.record_text(key, value, step, time)
            else:
                self._convert(key, value, step, time)

    def _convert(self, key: str, value: Any, step: int | None, time: int) -> None:
        self._made(key, lambda: conversion.record(self, key, value, step, time))

    def _configure(self, config: Any, include: list[str] | None, exclude: list[str] | None) -> None:
        if isinstance(config, str):
            raise Refused(f"config is the path {shorten(config)}; give a dict")
        values = config if isinstance(config, Mapping) else vars(config)
        chosen = {key: value for key, value in values.items() if include is None or key in include}
        self.config.update({key: value for key, value in chosen.items() if key not in (exclude or ())})

    def _summarise(self, key: str, value: Any) -> None:
        if isinstance(value, str):
            self.record_tag(key, value)
        elif conversion.kind_of(value):
            self._convert(key, value, None, time_ns())
        else:
            self.record_metric(key, value)


def _never(*_: Any) -> bool:
    return False


def _flatten(metrics: Mapping[str, Any], depth: int = 1) -> Iterator[tuple[str, Any]]:
    for key, value in metrics.items():
        if type(value) is not float and isinstance(value, Mapping) and isinstance(key, str) and depth < MAX_DEPTH:
            for inner, item in _flatten(value, depth + 1):
                # A key that is not a str stays as it is, so that the rejection names it.
                yield (f"{key}.{inner}" if isinstance(inner, str) else inner), item
        else:
            yield key, value
