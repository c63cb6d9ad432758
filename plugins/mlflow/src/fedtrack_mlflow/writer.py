"""MLflowWriter: a writer with the calls of MLflow, for any receiver."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

from fedtrack.tracking import Refused, Table, shorten, table_of
from fedtrack.tracking.records import Artifact, Image, Metric, Param, Record, Tag, Text
from fedtrack_mlflow.fluent_run import DONE, Done, LoggedModel
from fedtrack_mlflow.fluent_state import FluentState


class MLflowWriter(FluentState):
    """The functions of MLflow's fluent API; ``mlflow = MLflowWriter()`` in the place of ``import mlflow``.

    A bad value becomes a counted ``Rejected`` record and never raises. Arguments have MLflow's names and order; those
    of FLARE's writer are taken too. ``run_id`` and ``model_id`` are not used: the records go to the site's own run.
    With ``synchronous=False`` a call returns an object whose ``wait()`` returns at once.

    Args:
        record_log: See Writer.
        steps: ``"continue"`` makes one ascending count of steps that begin again in each round.
    """

    name: ClassVar[str] = "mlflow"
    summary: ClassVar[str] = "MLflow's fluent API: log_metric, log_param, set_tag, log_image, log_table, start_run, ..."
    supports: ClassVar[frozenset[type[Record]]] = frozenset({Metric, Param, Tag, Text, Image, Artifact})

    def __init__(self, record_log: Any = None, *, steps: Literal["continue"] | None = None) -> None:
        super().__init__(record_log)
        if steps == "continue":
            self.continue_steps()
        self._tables: dict[str, Table] = {}

    def log_metric(
        self,
        key: str,
        value: Any,
        step: int | None = None,
        synchronous: bool | None = None,
        timestamp: int | None = None,
        run_id: str | None = None,
        model_id: str | None = None,
        dataset: Any = None,
    ) -> Done | None:
        """Log one scalar; NaN and infinities are kept. ``timestamp`` is in milliseconds since the epoch."""
        if timestamp is not None:
            self._made(key, lambda: self.record_metric(key, value, step, _nanoseconds(timestamp)))
        elif not self._append_metric(key, value, step):
            self.record_metric(key, value, step)
        return None if synchronous is not False else DONE

    def log_metrics(
        self,
        metrics: Mapping[str, Any],
        step: int | None = None,
        synchronous: bool | None = None,
        run_id: str | None = None,
        timestamp: int | None = None,
        model_id: str | None = None,
        dataset: Any = None,
    ) -> Done | None:
        """Log several scalars of one step; see ``log_metric``."""
        if timestamp is not None:
            self._made("metrics", lambda: self.record_metrics(dict(metrics), step, _nanoseconds(timestamp)))
        elif not self._append_metrics(metrics, step, None):
            self.record_metrics(dict(self._items("metrics", metrics)), step)
        return None if synchronous is not False else DONE

    def log_param(self, key: str, value: Any, synchronous: bool | None = None) -> Any:
        """Log a hyperparameter, and return its value."""
        self.record_param(key, value)
        return value if synchronous is not False else DONE

    def log_params(
        self,
        params: Mapping[str, Any] | None = None,
        synchronous: bool | None = None,
        run_id: str | None = None,
        *,
        values: Mapping[str, Any] | None = None,
    ) -> Done | None:
        """Log several hyperparameters; ``values`` is FLARE's name of ``params``."""
        for key, value in self._items("params", params if values is None else values):
            self.record_param(key, value)
        return None if synchronous is not False else DONE

    def log_model_params(self, params: Mapping[str, Any], model_id: str | None = None) -> None:
        """Log the hyperparameters of a model as those of the run."""
        self.log_params(params)

    def set_tag(self, key: str, value: Any = None, synchronous: bool | None = None, *, tag: Any = None) -> Done | None:
        """Set a tag on this site's run; a later value replaces an earlier one. ``tag`` is FLARE's name of ``value``."""
        self.record_tag(key, value if tag is None else tag)
        return None if synchronous is not False else DONE

    def set_tags(self, tags: Mapping[str, Any], synchronous: bool | None = None) -> Done | None:
        """Set several tags on this site's run."""
        for key, tag in self._items("tags", tags):
            self.record_tag(key, tag)
        return None if synchronous is not False else DONE

    def log_text(
        self,
        text: str,
        artifact_file: str | None = None,
        run_id: str | None = None,
        *,
        artifact_file_path: str | None = None,
    ) -> None:
        """Log text as the file ``artifact_file`` (FLARE's name: ``artifact_file_path``).

        A later text for the same file replaces it; MLflow's receiver keeps the earlier ones as well.
        """
        self.record_text(artifact_file if artifact_file_path is None else artifact_file_path, text)  # type: ignore[arg-type]

    def log_dict(self, dictionary: Mapping[str, Any], artifact_file: str, run_id: str | None = None) -> None:
        """Log a mapping as a file: YAML if the name ends in ``.yml`` or ``.yaml``, else JSON.

        Values that the format cannot hold are stored as their ``str()``. Without PyYAML the YAML is written as JSON,
        which is YAML too.
        """

        def make() -> None:
            text = json.dumps(dictionary, indent=2, default=str)
            if str(artifact_file).lower().endswith((".yml", ".yaml")):
                text = _as_yaml(text)
            self.record_text(artifact_file, text)

        self._made(artifact_file, make)

    def log_artifact(self, local_path: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
        """Log a copy of a file, or of all files of a folder, in the folder ``artifact_path`` if given."""

        def make() -> None:
            source = Path(local_path)
            target = f"{artifact_path.rstrip('/')}/{source.name}" if artifact_path else source.name
            if source.is_dir():
                self.record_folder(source, target)
            else:
                self.record_file(source, target)

        self._made(str(local_path), make)

    def log_artifacts(self, local_dir: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
        """Log copies of all files below a folder, in the folder ``artifact_path`` if given."""
        self.record_folder(local_dir, artifact_path or "")

    def log_stream(self, stream: Any, artifact_file: str, run_id: str | None = None) -> None:
        """Log the rest of a binary stream as the file ``artifact_file``."""
        self._made(artifact_file, lambda: self.record_artifact(artifact_file, stream.read()))

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
        """Log a figure of matplotlib or plotly: as the file ``artifact_file`` if that is no PNG, and as an image."""

        def make() -> None:
            ending = Path(artifact_file).suffix.lower().lstrip(".")
            if ending in ("", "png"):
                self.record_figure(artifact_file, figure)
                return
            self.record_artifact(artifact_file, _figure_file(figure, ending, dict(save_kwargs or {})))
            if ending != "html":
                self.record_figure(str(Path(artifact_file).with_suffix(".png")), figure)

        self._made(artifact_file, make)

    def log_image(
        self,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = False,
    ) -> Done | None:
        """Log an image: a numpy array (HWC or HW), a picture of PIL or an ``mlflow.Image``.

        Args:
            image: The image.
            artifact_file: The name of one image.
            key: The name of a series of images over steps.
            step: The step in the series.
            timestamp: Milliseconds since the epoch.
            synchronous: See the class.
        """

        def make() -> None:
            if (artifact_file is None) == (key is None):
                raise Refused("log_image() takes either artifact_file or key")
            picture = image.to_pil() if hasattr(image, "to_pil") else image
            time = None if timestamp is None else _nanoseconds(timestamp)
            self.record_pixels(str(key or artifact_file), picture, step if key else None, "", time)

        self._made(str(key or artifact_file), make)
        return None if synchronous is not False else DONE

    def log_table(self, data: Any, artifact_file: str, run_id: str | None = None) -> None:
        """Log a dict of columns or a DataFrame as the JSON file ``artifact_file``; further calls add their rows."""

        def make() -> None:
            table = table_of(data)
            if (before := self._tables.get(artifact_file)) is not None:
                table = before.joined(table)
            self._tables[artifact_file] = table
            self.record_table(str(Path(artifact_file).with_suffix("")), table, artifact_file)

        self._made(artifact_file, make)

    def log_input(
        self, dataset: Any = None, context: str | None = None, tags: Mapping[str, Any] | None = None, model: Any = None
    ) -> None:
        """Log the name, digest, context and source of a dataset as the tag ``dataset/<name>``."""

        def make() -> None:
            if dataset is None:
                raise Refused("log_input() has no dataset")
            facts = {"name": getattr(dataset, "name", str(dataset)), "digest": getattr(dataset, "digest", None)}
            source = getattr(dataset, "source", None)
            facts |= {"source": None if source is None else shorten(source, 200), "context": context}
            self.record_tag(f"dataset/{facts['name']}", json.dumps(facts | dict(tags or {}), default=str))

        self._made("log_input()", make)

    def log_inputs(
        self,
        datasets: Sequence[Any] | None = None,
        contexts: Sequence[str | None] | None = None,
        tags_list: Sequence[Mapping[str, Any] | None] | None = None,
        models: Any = None,
    ) -> None:
        """Log several datasets; see ``log_input``."""

        def make() -> None:
            for index, dataset in enumerate(datasets or ()):
                context = contexts[index] if contexts else None
                self.log_input(dataset, context, tags_list[index] if tags_list else None)

        self._made("log_inputs()", make)

    def log_model(self, model: Any = None, artifact_path: str = "model", **kwargs: Any) -> LoggedModel:
        """Log a model of torch or scikit-learn; other libraries: ``writer.<flavor>.log_model``, as in MLflow."""
        bases = {base.__module__.partition(".")[0] for base in type(model).__mro__}
        found = next((name for library, name in _FLAVORS.items() if library in bases), None)
        if found is not None:
            return self.__getattr__(found).log_model(model, artifact_path, **kwargs)
        kind = type(model).__name__
        self.record_ignored(
            "log_model()", f"the flavor of a {kind} is not known; call <flavor>.log_model, as in MLflow"
        )
        return LoggedModel("", artifact_path, self.active_run().info.run_id)

    def _items(self, what: str, values: Any) -> list[tuple[Any, Any]]:
        try:
            return list(values.items())
        except Exception:
            self.record_rejected(what, Refused(f"{what} is a {type(values).__name__}; it must be a mapping"))
            return []


#: MLflow's module for a model, by the top-level module of its class.
_FLAVORS = {"torch": "pytorch", "sklearn": "sklearn", "keras": "keras", "xgboost": "xgboost", "lightgbm": "lightgbm"}


def _nanoseconds(timestamp: Any) -> int:
    nanoseconds: int = round(timestamp * 1_000_000)
    return nanoseconds


def _as_yaml(text: str) -> str:
    try:
        dump: Callable[..., str] = import_module("yaml").safe_dump
    except ImportError:
        return text
    return dump(json.loads(text), sort_keys=False, allow_unicode=True)


def _figure_file(figure: Any, ending: str, save_kwargs: dict[str, Any]) -> bytes:
    import io

    if hasattr(figure, "savefig"):
        buffer = io.BytesIO()
        figure.savefig(buffer, **{**save_kwargs, "format": ending})
        return buffer.getvalue()
    if ending == "html" and hasattr(figure, "to_html"):
        return str(figure.to_html(**save_kwargs)).encode()
    if hasattr(figure, "to_image"):
        return bytes(figure.to_image(format=ending, **save_kwargs))
    raise Refused(f"a {type(figure).__name__} is no figure of matplotlib or plotly")
