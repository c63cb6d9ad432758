"""Components of core, under the names that a job file uses.

A job file names components; it never names classes to import. FLARE's class paths are accepted as further names of
the same components, so that its configurations can be pasted.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.job.paths import check_inside, check_script
from fedtrack.job.values import MAX_COUNT, Count, Text, check_no_repetition, check_words
from fedtrack.tracking.events import LOCAL_EVENT
from fedtrack.tracking.normalise import shorten

#: FLARE's name of the event.
ANALYTIC_EVENT_TYPE = LOCAL_EVENT


class Component(msgspec.Struct, forbid_unknown_fields=True):
    """Base of the components without code of their own: they have only arguments.

    Class attributes:
        ignored: Arguments that are accepted for jobs written for FLARE and change nothing; an export leaves them out.
        node: The kind of node that has such a component; elsewhere it would have no effect.
    """

    ignored: ClassVar[frozenset[str]] = frozenset()
    node: ClassVar[Literal["server", "site"]] = "server"


class ConvertToFedEvent(Component):
    """Sends a site's events to the server; without it they stay at the site.

    Attributes:
        events_to_convert: Only ``analytix_log_stats`` exists; kept for jobs written for FLARE.
        fed_event_prefix: Only ``fed.`` is valid; kept for the same reason.
    """

    ignored: ClassVar[frozenset[str]] = frozenset({"events_to_convert", "fed_event_prefix"})
    node: ClassVar[Literal["server", "site"]] = "site"

    events_to_convert: list[str] = msgspec.field(default_factory=lambda: [LOCAL_EVENT])
    fed_event_prefix: Literal["fed."] = "fed."

    def __post_init__(self) -> None:
        if unknown := [event for event in self.events_to_convert if event != LOCAL_EVENT]:
            raise ConfigError(
                f"ConvertToFedEvent: the event {shorten(unknown[0])} does not exist; valid is {LOCAL_EVENT!r}."
            )
        if not self.events_to_convert:
            raise ConfigError(
                "ConvertToFedEvent: events_to_convert is empty; remove the component, then events stay at the site."
            )
        check_no_repetition("ConvertToFedEvent: events_to_convert", self.events_to_convert)


class ModelPersistor(Component):
    """Keeps the last and the best global model on the server's disk.

    Attributes:
        initial_model: File in ``app_server/custom`` with the parameters of round 0; None lets every site begin with
            its own.
    """

    initial_model: str | None = None


class IntimeModelSelector(Component):
    """Selects the best global model.

    Attributes:
        key_metric: Name of the metric that is compared.
        key_metric_mode: Whether larger (``max``) or smaller (``min``) values are better.
        negate_key_metric: FLARE's way to say that smaller values are better.
    """

    key_metric: Text = "accuracy"
    key_metric_mode: Literal["max", "min"] = "max"
    negate_key_metric: bool = False

    def __post_init__(self) -> None:
        if not self.key_metric:
            raise ConfigError("IntimeModelSelector: key_metric is empty; name a metric, or remove the component.")
        if self.negate_key_metric and self.key_metric_mode == "min":
            raise ConfigError(
                "IntimeModelSelector: negate_key_metric is true and key_metric_mode is 'min'; both say that smaller "
                "values are better, give one of them."
            )

    @property
    def mode(self) -> Literal["max", "min"]:
        """Whether larger (``max``) or smaller (``min``) values are better."""
        return "min" if self.negate_key_metric else self.key_metric_mode


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
        script_args: Its arguments, split as a shell splits them.
        launch_external_process: Whether to start a new Python process instead of forking one that has torch loaded.
        command: The command that starts an external process.
        framework: The kind of parameters that ``receive`` returns: ``pytorch`` tensors or ``numpy`` arrays.
    """

    node: ClassVar[Literal["server", "site"]] = "site"

    script: Text
    script_args: str = ""
    launch_external_process: bool = False
    command: Text = "python3 -u"
    framework: Literal["pytorch", "numpy"] = "pytorch"

    def __post_init__(self) -> None:
        check_script("ScriptRunner: script", self.script)
        check_words("ScriptRunner: script_args", self.script_args)
        check_words("ScriptRunner: command", self.command, needed=True)


class ClientAppRunner(Component):
    """A few processes do the work of all sites, with the functions of a ClientApp.

    Attributes:
        script: Path of the file that holds the app; in an exported job, its name in the ``custom`` folder.
        app: Name of the ``ClientApp`` in that file.
        args: The value of ``SiteContext.args``, for the functions; anything that JSON can hold.
        workers: The number of processes; None means one per processor core.
        threads: The number of threads of a tensor operation; None means a worker's share of the cores.
        framework: The kind of ``FLModel.params``: ``pytorch`` tensors or ``numpy`` arrays.
    """

    node: ClassVar[Literal["server", "site"]] = "site"

    script: Text
    app: str = "app"
    args: dict[str, Any] = {}
    workers: Count | None = None
    threads: Count | None = None
    framework: Literal["pytorch", "numpy"] = "pytorch"

    def __post_init__(self) -> None:
        check_script("ClientAppRunner: script", self.script)
        for name in ("workers", "threads"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MAX_COUNT:
                raise ConfigError(f"ClientAppRunner: {name} is {value}; it must be 1 or more, or None.")
        if not self.app.isidentifier():
            raise ConfigError(f"ClientAppRunner: app is {self.app!r}; give the name of a ClientApp, such as 'app'.")


#: The executors of a site.
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

#: FLARE's class paths of these components and workflows.
ALIASES = {
    "nvflare.app_common.workflows.cross_site_eval.CrossSiteEval": "CrossSiteEval",
    "nvflare.app_common.workflows.cross_site_model_eval.CrossSiteModelEval": "CrossSiteEval",
    "nvflare.app_common.workflows.fedavg.FedAvg": "FedAvg",
    "nvflare.app_common.widgets.convert_to_fed_event.ConvertToFedEvent": "ConvertToFedEvent",
    "nvflare.app_common.widgets.intime_model_selector.IntimeModelSelector": "IntimeModelSelector",
    "nvflare.app_common.widgets.validation_json_generator.ValidationJsonGenerator": "ValidationJsonGenerator",
}
