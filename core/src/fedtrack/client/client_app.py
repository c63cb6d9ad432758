"""ClientApp: a site's work as functions, so that a few processes can do it for thousands of sites.

::

    app = ClientApp()

    @app.train
    def train(model: FLModel, site: SiteContext) -> FLModel:
        ...  # the parameters of model.params, trained on this site's data
        return FLModel(params=net.state_dict(), meta={MetaKey.NUM_STEPS_CURRENT_ROUND: steps})

    if __name__ == "__main__":
        app.run()

A job runs the file with ``ClientAppRunner``. The last two lines also make it a script that ``ScriptRunner`` can run on
every engine, with a process for each site. The idea is that of Flower's ``ClientApp``.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeAlias
from zlib import crc32

from fedtrack.client import api
from fedtrack.client.fl_model import FLModel
from fedtrack.errors import ConfigError


@dataclass(slots=True)
class SiteContext:
    """The site that a function works for.

    Attributes:
        name: The site, such as ``site-17``.
        position: Its number among the job's sites, counted from 0; None if the engine does not know it.
        total: The number of sites of the job, whether or not they take part in this round; 0 if the engine does
            not know it.
        args: The arguments that the job gave to ``ClientAppRunner(args=...)``.
        state: Values that the site keeps from one task to the next, by name: numbers, texts, bytes, lists, dicts,
            arrays and tensors; tuples and sets become lists. Changes are kept if the function returns, and
            discarded if it raises.
    """

    name: str
    position: int | None = None
    total: int = 0
    args: Mapping[str, Any] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def index(self) -> int:
        """The site's position, which says which part of a partitioned data set belongs to it.

        Raises:
            ConfigError: The engine does not know it, because the job has no site of this name.
        """
        if self.position is None:
            raise ConfigError(f"The job has no site called {self.name!r}, so its index is not known; use site.name.")
        return self.position


#: Trains ``model.params`` on the site's data and returns the result.
TrainFunction: TypeAlias = Callable[[FLModel, SiteContext], FLModel]
#: Scores ``model.params`` on the site's data. It returns the scores, or an FLModel that also has their weight.
EvaluateFunction: TypeAlias = Callable[[FLModel, SiteContext], FLModel | Mapping[str, float]]


class ClientApp:
    """Functions for the tasks that a server gives; every site has the same ones.

    A function is called with the global model and with the site. The model is a copy that the function may change in
    place. Random numbers (``random``, numpy, torch) are seeded from the site's name and the round before each call.
    Global variables are shared with other sites of the same process, or lost between rounds: use ``site.state``.
    Writers log under the site's name, in the function's own thread and in threads that it starts.
    """

    def __init__(self) -> None:
        self._train: TrainFunction | None = None
        self._evaluate: EvaluateFunction | None = None

    def train(self, function: TrainFunction) -> TrainFunction:
        """Use ``function`` for the task ``train``; a decorator.

        Raises:
            ConfigError: The app has such a function already.
        """
        self._refuse_second("train", self._train, function)
        self._train = function
        return function

    def evaluate(self, function: EvaluateFunction) -> EvaluateFunction:
        """Use ``function`` for the task ``validate``; a decorator.

        Raises:
            ConfigError: The app has such a function already.
        """
        self._refuse_second("evaluate", self._evaluate, function)
        self._evaluate = function
        return function

    def answer(self, task_name: str, model: FLModel, site: SiteContext) -> FLModel:
        """Do a task for a site and return the result.

        Args:
            task_name: ``train`` or ``validate``.
            model: The global model.
            site: The site.

        Raises:
            ConfigError: The app has no function for the task, or the function does not return a result.
        """
        function = {"train": self._train, "validate": self._evaluate}.get(task_name)
        if function is None:
            decorator = {"train": "@app.train", "validate": "@app.evaluate"}.get(task_name, "suitable")
            raise ConfigError(f"The ClientApp has no {decorator} function, which the task {task_name!r} needs.")
        _seed(f"{site.name}/{task_name}/{model.current_round}")
        result = function(model, site)
        if isinstance(result, FLModel):
            return result
        if task_name == "validate" and isinstance(result, Mapping):
            return FLModel(metrics=dict(result))
        expected = "an FLModel" if task_name == "train" else "an FLModel or a dict of metrics"
        raise ConfigError(f"{function.__name__}() returned a {type(result).__name__}; it must return {expected}.")

    def run(self, args: Mapping[str, Any] | None = None) -> None:
        """Do the tasks of one site until the job is over, in a script that is started for each site.

        ``site.state`` lives as long as the process.

        Args:
            args: The value of ``site.args``.

        Raises:
            ConfigError: The process was not started by a job.
        """
        api.init()
        config = api.get_config()
        site = SiteContext(api.get_site_name(), config.get("site_index"), config.get("n_sites", 0), args or {})
        while api.is_running():
            model = api.receive()
            if model is None:
                return
            if not api.is_submit_model():  # a site without a model of its own leaves this task unanswered
                api.send(self.answer(api.get_task_name(), model, site))

    def _refuse_second(self, kind: str, known: Callable[..., Any] | None, new: Callable[..., Any]) -> None:
        if known is not None:
            raise ConfigError(
                f"The ClientApp has two @app.{kind} functions, {known.__name__} and {new.__name__}; keep one."
            )


def _seed(text: str) -> None:
    """Seed the random numbers, so that they do not depend on the process or on the sites that it had before."""
    seed = crc32(text.encode())
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)
    if torch := sys.modules.get("torch"):
        # Not torch.manual_seed: without a GPU it stores a stack trace for each call and never frees it.
        torch.default_generator.manual_seed(seed)
        if _has_gpu():
            torch.cuda.manual_seed_all(seed)


@cache
def _has_gpu() -> bool:
    """Return whether torch can use a GPU. The first call starts CUDA, and its answer cannot change afterwards."""
    available: bool = sys.modules["torch"].cuda.is_available()
    return available
