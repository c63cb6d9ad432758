"""The components that core itself brings to a job, under the names that a job file uses.

A job file names components; it never names classes to import. FLARE's class paths are accepted as further names of
the same things, so that its configurations can be pasted.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.job.paths import check_inside
from fedtrack.tracking.events import LOCAL_EVENT

#: FLARE's name of the event.
ANALYTIC_EVENT_TYPE = LOCAL_EVENT


class Component(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the components that are nothing but their arguments.

    Class attributes:
        ignored: Arguments that are accepted for jobs written for FLARE and change nothing; an export leaves them out.
    """

    ignored: ClassVar[frozenset[str]] = frozenset()


class ConvertToFedEvent(Component):
    """Lets a site's events cross to the server; a site without it keeps them at home.

    Attributes:
        events_to_convert: Only ``analytix_log_stats`` exists; kept for jobs written for FLARE.
        fed_event_prefix: Only ``fed.`` is valid; kept as well.
    """

    ignored: ClassVar[frozenset[str]] = frozenset({"events_to_convert", "fed_event_prefix"})

    events_to_convert: list[str] = msgspec.field(default_factory=lambda: [LOCAL_EVENT])
    fed_event_prefix: Literal["fed."] = "fed."

    def __post_init__(self) -> None:
        if unknown := [event for event in self.events_to_convert if event != LOCAL_EVENT]:
            raise ConfigError(f"ConvertToFedEvent: the event {unknown[0]!r} does not exist; valid is {LOCAL_EVENT!r}.")


class ModelPersistor(Component):
    """Keeps the last and the best global model on the server's disk.

    Attributes:
        initial_model: File in ``app_server/custom`` with the parameters of round 0; without it every site begins
            with its own.
    """

    initial_model: str | None = None


class IntimeModelSelector(Component):
    """Decides which global model is the best.

    Attributes:
        key_metric: Name of the metric that decides.
        key_metric_mode: Whether more or less of it is better.
    """

    key_metric: str = "accuracy"
    key_metric_mode: Literal["max", "min"] = "max"


class ValidationJsonGenerator(Component):
    """Writes the results of CrossSiteEval as JSON: ``{data site: {model owner: {metric: value}}}``.

    Attributes:
        results_dir: Folder in the run's results.
        json_file_name: The file in it.
    """

    results_dir: str = "cross_site_val"
    json_file_name: str = "cross_val_results.json"

    def __post_init__(self) -> None:
        check_inside("ValidationJsonGenerator: results_dir", self.results_dir)
        check_inside("ValidationJsonGenerator: json_file_name", self.json_file_name)


class ScriptRunner(Component):
    """Runs a training script at a site (FLARE's ``ScriptRunner``).

    Attributes:
        script: Path of the script; in an exported job, its name in the site's ``custom`` folder.
        script_args: Its arguments, split as a shell would.
        launch_external_process: Whether to start a Python of its own instead of a fork of one that has torch loaded.
        command: What starts an external process.
        framework: What ``receive`` gives the script: ``pytorch`` tensors or ``numpy`` arrays.
    """

    script: str
    script_args: str = ""
    launch_external_process: bool = False
    command: str = "python3 -u"
    framework: Literal["pytorch", "numpy"] = "pytorch"


class ClientAppRunner(Component):
    """Lets a few processes do the work of all sites, with the functions of a ClientApp.

    Attributes:
        script: Path of the file that holds the app; in an exported job, its name in the ``custom`` folder.
        app: Name of the ``ClientApp`` in that file.
        args: What ``SiteContext.args`` gives the functions; anything that JSON can hold.
        workers: How many processes; one for each processor core, if None.
        threads: How many threads a tensor operation may use; a worker's share of the cores, if None.
        framework: What ``FLModel.params`` gives the functions: ``pytorch`` tensors or ``numpy`` arrays.
    """

    script: str
    app: str = "app"
    args: dict[str, Any] = {}
    workers: int | None = None
    threads: int | None = None
    framework: Literal["pytorch", "numpy"] = "pytorch"

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"ClientAppRunner: {name} is {value}; it must be 1 or more, or None.")
        if not self.app.isidentifier():
            raise ConfigError(f"ClientAppRunner: app is {self.app!r}; give the name of a ClientApp, such as 'app'.")


#: What a site's executor can be.
Runner: TypeAlias = ScriptRunner | ClientAppRunner
RUNNERS: dict[str, type[Component]] = {"ClientAppRunner": ClientAppRunner, "ScriptRunner": ScriptRunner}


class FrameworkType:
    """Names for ``ScriptRunner.framework`` (FLARE's ``FrameworkType``)."""

    PYTORCH: ClassVar[Literal["pytorch"]] = "pytorch"
    NUMPY: ClassVar[Literal["numpy"]] = "numpy"
    RAW: ClassVar[Literal["numpy"]] = "numpy"


COMPONENTS: dict[str, type[Component]] = {
    "ClientAppRunner": ClientAppRunner,
    "ConvertToFedEvent": ConvertToFedEvent,
    "IntimeModelSelector": IntimeModelSelector,
    "ModelPersistor": ModelPersistor,
    "ScriptRunner": ScriptRunner,
    "ValidationJsonGenerator": ValidationJsonGenerator,
}

#: FLARE's class paths of the same things.
ALIASES = {
    "nvflare.app_common.workflows.cross_site_eval.CrossSiteEval": "CrossSiteEval",
    "nvflare.app_common.workflows.cross_site_model_eval.CrossSiteModelEval": "CrossSiteEval",
    "nvflare.app_common.workflows.fedavg.FedAvg": "FedAvg",
    "nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent": "ConvertToFedEvent",
    "nvflare.app_common.widgets.intime_model_selector.IntimeModelSelector": "IntimeModelSelector",
    "nvflare.app_common.widgets.validation_json_generator.ValidationJsonGenerator": "ValidationJsonGenerator",
}
