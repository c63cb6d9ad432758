"""Flavors: ``mlflow.pytorch``, ``mlflow.sklearn`` and the like, as attributes of the writer.

A model is saved by MLflow itself if it is installed at the site, and its files are logged as artifacts. Nothing is
imported before a model is logged.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fedtrack.tracking import MediaWriter
from fedtrack_mlflow.fluent_run import LoggedModel

#: The modules of MLflow that have ``log_model``, ``save_model`` or ``autolog``.
NAMES = frozenset(
    (
        *(
            "ag2",
            "agno",
            "anthropic",
            "autogen",
            "bedrock",
            "catboost",
            "crewai",
            "diviner",
            "dspy",
            "fastai",
            "gemini",
        ),
        *("groq", "h2o", "haystack", "johnsnowlabs", "keras", "langchain", "lightgbm", "litellm", "llama_index"),
        *("mistral", "onnx", "openai", "paddle", "pmdarima", "promptflow", "prophet", "pyfunc", "pyspark", "pytorch"),
        *("sentence_transformers", "sklearn", "smolagents", "spacy", "spark", "statsmodels", "strands", "tensorflow"),
        *("transformers", "xgboost"),
    )
)


class Flavor:
    """One of MLflow's modules for a library; functions other than ``log_model`` are counted and do nothing.

    Args:
        name: The module, such as ``"pytorch"``.
        writer: The writer that the records go to.
        run_id: Returns the id of the site's run.
    """

    def __init__(self, name: str, writer: MediaWriter, run_id: Callable[[], str]) -> None:
        self._name = name
        self._writer = writer
        self._run_id = run_id

    def log_model(self, model: Any = None, artifact_path: str | None = None, *args: Any, **kwargs: Any) -> LoggedModel:
        """Save the model with MLflow, and log its files in the folder ``artifact_path`` or ``name``; it never raises.

        Arguments that MLflow's ``save_model`` does not have, such as ``registered_model_name``, are left out.
        """
        path = str(artifact_path or kwargs.pop("name", None) or "model")
        named = next((key for key in kwargs if key.endswith(("_model", "_estimator"))), "")
        model = kwargs.pop(named) if model is None and named else model  # pytorch_model=, sk_model=, ...
        call = f"mlflow.{self._name}.log_model()"
        try:
            self._save(model, path, kwargs)
        except ImportError as error:
            self._writer.record_ignored(call, f"{error}; install mlflow and {self._name} at the site to log models")
        except Exception as error:  # MLflow and the library may raise anything; the training goes on
            self._writer.record_rejected(call, error)
        return LoggedModel(f"runs:/{self._run_id()}/{path}", path, self._run_id(), name=path)

    def __getattr__(self, function: str) -> Callable[..., None]:
        if function.startswith("_"):
            raise AttributeError(function)

        def ignored(*_: Any, **__: Any) -> None:
            self._writer.record_ignored(
                f"mlflow.{self._name}.{function}()",
                "a site has no MLflow run that it could change; log records instead",
            )

        return ignored

    def _save(self, model: Any, path: str, kwargs: dict[str, Any]) -> None:
        save = import_module(f"mlflow.{self._name}").save_model
        known = inspect.signature(save).parameters
        first = next(iter(known))
        with TemporaryDirectory(prefix="fedtrack-model-") as scratch:
            folder = Path(scratch, "model")
            save(
                **{first: model, "path": str(folder)},
                **{key: value for key, value in kwargs.items() if key in known and key not in (first, "path")},
            )
            self._writer.record_folder(folder, path)
