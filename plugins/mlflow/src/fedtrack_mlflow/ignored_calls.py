"""IgnoredCalls: functions of MLflow that no record can hold; each is counted, and the first call is said."""

from __future__ import annotations

from typing import Any

from fedtrack.tracking import MediaWriter

_TRACE = "traces and their assessments are no records; log numbers and text instead"
_MODEL = "a site has no model registry; log the model's files with log_artifacts"
_SYSTEM = "MLflow's system metrics need a run that the site owns; log numbers instead"


class IgnoredCalls(MediaWriter):
    """Calls with MLflow's arguments that change nothing and never raise."""

    def log_assessment(self, trace_id: str, assessment: Any) -> None:
        """Count the call."""
        self.record_ignored("log_assessment()", _TRACE)

    def log_expectation(
        self, *, trace_id: str, name: str, value: Any, source: Any = None, metadata: Any = None, span_id: Any = None
    ) -> None:
        """Count the call."""
        self.record_ignored("log_expectation()", _TRACE)

    def log_feedback(
        self,
        *,
        trace_id: str,
        name: str = "feedback",
        value: Any = None,
        source: Any = None,
        error: Any = None,
        rationale: str | None = None,
        metadata: Any = None,
        span_id: str | None = None,
    ) -> None:
        """Count the call."""
        self.record_ignored("log_feedback()", _TRACE)

    def log_issue(
        self,
        *,
        trace_id: str,
        issue_id: str,
        issue_name: str | None = None,
        source: Any = None,
        run_id: str | None = None,
        rationale: str | None = None,
        metadata: Any = None,
        span_id: str | None = None,
    ) -> None:
        """Count the call."""
        self.record_ignored("log_issue()", _TRACE)

    def log_trace(
        self,
        name: str = "Task",
        request: Any = None,
        response: Any = None,
        intermediate_outputs: Any = None,
        attributes: Any = None,
        tags: Any = None,
        start_time_ms: int | None = None,
        execution_time_ms: int | None = None,
    ) -> str:
        """Count the call, and return an empty trace id."""
        self.record_ignored("log_trace()", _TRACE)
        return ""

    def set_trace_tag(self, trace_id: str, key: str, value: Any) -> None:
        """Count the call."""
        self.record_ignored("set_trace_tag()", _TRACE)

    def log_outputs(self, models: Any = None) -> None:
        """Count the call."""
        self.record_ignored("log_outputs()", _MODEL)

    def set_active_model(self, *, name: str | None = None, model_id: str | None = None) -> None:
        """Count the call."""
        self.record_ignored("set_active_model()", _MODEL)

    def set_logged_model_tags(self, model_id: str, tags: Any) -> None:
        """Count the call."""
        self.record_ignored("set_logged_model_tags()", _MODEL)

    def set_model_version_tag(
        self, name: str, version: str | None = None, key: str | None = None, value: Any = None
    ) -> None:
        """Count the call."""
        self.record_ignored("set_model_version_tag()", _MODEL)

    def set_prompt_alias(self, name: str, alias: str, version: int) -> None:
        """Count the call."""
        self.record_ignored("set_prompt_alias()", _MODEL)

    def register_model(
        self, model_uri: str, name: str, await_registration_for: int = 300, *, tags: Any = None, env_pack: Any = None
    ) -> None:
        """Count the call."""
        self.record_ignored("register_model()", _MODEL)

    def set_system_metrics_node_id(self, node_id: Any) -> None:
        """Count the call."""
        self.record_ignored("set_system_metrics_node_id()", _SYSTEM)

    def set_system_metrics_samples_before_logging(self, samples: int) -> None:
        """Count the call."""
        self.record_ignored("set_system_metrics_samples_before_logging()", _SYSTEM)

    def set_system_metrics_sampling_interval(self, interval: float) -> None:
        """Count the call."""
        self.record_ignored("set_system_metrics_sampling_interval()", _SYSTEM)

    def enable_system_metrics_logging(self) -> None:
        """Count the call."""
        self.record_ignored("enable_system_metrics_logging()", _SYSTEM)

    def disable_system_metrics_logging(self) -> None:
        """Do nothing: there are none."""

    def set_telemetry_client(self) -> None:
        """Do nothing: a writer sends no telemetry."""

    def autolog(
        self,
        log_input_examples: bool = False,
        log_model_signatures: bool = True,
        log_models: bool = True,
        log_datasets: bool = True,
        log_traces: bool = True,
        disable: bool = False,
        exclusive: bool = False,
        disable_for_unsupported_versions: bool = False,
        silent: bool = False,
        extra_tags: Any = None,
        exclude_flavors: Any = None,
    ) -> None:
        """Count the call: what it would log by itself must be logged by the script."""
        self.record_ignored("autolog()", "nothing is logged by itself; call log_metric and log_params in the script")
