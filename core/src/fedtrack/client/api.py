"""The functions that a training script calls (FLARE's ``nvflare.client`` API, same names and defaults).

A script is written as if it were alone: it receives a model, trains it, sends it back. ``ctx`` arguments exist for
scripts written for FLARE and are not used.
"""

from __future__ import annotations

from typing import Any

from fedtrack.client.backend import current
from fedtrack.client.data_type import AnalyticsDataType, data_type_of, record
from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError
from fedtrack.tracking.writer import Writer

_TRAIN, _EVALUATE, _SUBMIT_MODEL = "train", "validate", "submit_model"


def init(rank: str | int | None = None, config_file: str | None = None) -> None:
    """Join the job; call it before anything else.

    Args:
        rank: The process's rank in distributed training, 0 or higher. Only rank 0 answers tasks. The other ranks are
            given the same tasks and models (on FLARE: none); what they log has a stream of its own, and what they send
            is ignored. None means the rank that the launcher has set (``RANK`` and others), or 0.
        config_file: Accepted for scripts written for FLARE; the engine configures the process.

    Raises:
        ConfigError: The process was not started by a job, or ``rank`` is no rank.
    """
    number = None if rank is None else _rank(rank)
    backend = current(number)
    if number is None:
        return
    take_rank = getattr(backend, "take_rank", None)
    if take_rank is not None:
        take_rank(number)


def _rank(rank: str | int) -> int:
    text = str(rank)
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"init(rank={rank!r}): a rank is the number of a process, 0 or higher.")
    return int(text)


def is_running(ctx: Any = None) -> bool:
    """Wait for the next task and return whether there is one: False once the job is over."""
    return current().is_running()


def receive(timeout: float | None = None, ctx: Any = None) -> FLModel | None:
    """Return the model of the current task; wait for one if there is none.

    Args:
        timeout: Seconds to wait at most; None waits as long as the job runs.
        ctx: Not used.

    Returns:
        The model, or None if the job is over or the timeout has passed.
    """
    return current().receive(timeout)


def send(model: FLModel, clear_cache: bool = True, ctx: Any = None) -> None:
    """Answer the current task.

    Args:
        model: Parameters and metrics; tensors may be torch tensors (on any device) or numpy arrays.
        clear_cache: Accepted for scripts written for FLARE; the received model is never cached.
        ctx: Not used.

    Raises:
        ConfigError: There is no task to answer, or ``model`` is no FLModel.
        ModelError: A parameter is no tensor, or of a type that cannot be sent.
    """
    current().send(model)


def is_train(ctx: Any = None) -> bool:
    """Return whether the current task asks for training."""
    return current().task_name == _TRAIN


def is_evaluate(ctx: Any = None) -> bool:
    """Return whether the current task asks only for metrics of the received model."""
    return current().task_name == _EVALUATE


def is_submit_model(ctx: Any = None) -> bool:
    """Return whether the current task asks for the site's own best model; the received model has no params.

    ``FLModel.meta["submit_model_name"]`` is a ``ModelName``. A script that has no such model leaves the task
    unanswered, by going on to ``is_running``.
    """
    return current().task_name == _SUBMIT_MODEL


def get_site_name(ctx: Any = None) -> str:
    """Return this site's name, such as ``site-1``."""
    return current().site_name


def get_job_id(ctx: Any = None) -> str:
    """Return the run's id."""
    return current().job_id


def get_task_name(ctx: Any = None) -> str:
    """Return the current task's name: ``train``, ``validate`` or ``submit_model``; "" between tasks."""
    return current().task_name


def get_config(ctx: Any = None) -> dict[str, Any]:
    """Return the job's settings of this site's executor."""
    return dict(current().config)


def system_info(ctx: Any = None) -> dict[str, str]:
    """Return ``job_id`` and ``site_name``."""
    return {"job_id": get_job_id(), "site_name": get_site_name()}


def log(
    key: str,
    value: Any,
    data_type: Any = None,
    ctx: Any = None,
    *,
    global_step: int | None = None,
    step: int | None = None,
    n: int | None = None,
) -> None:
    """Log one value without a writer (FLARE's ``nvflare.client.log``).

    Args:
        key: Name of the value; not used if ``value`` is a mapping.
        value: A value of the kind that ``data_type`` names, by default a number.
        data_type: An AnalyticsDataType or its name; None means a scalar.
        ctx: Not used.
        global_step: The script's step, or None.
        step: Another name of ``global_step``, which MLflow and W&B use.
        n: For how many samples a scalar stands, which a site's policy may ask; None if that is not said.

    Raises:
        TypeError: ``data_type`` or a keyword is unknown.
    """
    kind = data_type_of(data_type)
    at = step if global_step is None else global_step
    if n is not None and kind in (AnalyticsDataType.SCALAR, AnalyticsDataType.METRIC):
        Writer().record_metric(key, value, at, n=n)
    else:
        record(Writer(), kind, key, value, at)


def clear(ctx: Any = None) -> None:
    """Do nothing, because received models are not cached; exists for scripts written for FLARE."""


def shutdown(ctx: Any = None) -> None:
    """Leave the job; from now on ``is_running`` returns False."""
    current().shutdown()
