"""EvaluationState: what a cross-site evaluation has collected and scored, so that a resumed run goes on from there."""

from __future__ import annotations

import msgspec

from fedtrack_local.workflows.state import WorkflowState


class EvaluationState(msgspec.Struct):
    """The state of a cross-site evaluation; models are in files of their own.

    Attributes:
        submitted: The sites whose submitted models are kept.
        collected: Whether every site was asked for its model.
        scored: The metrics of the models that were scored, by owner and data site.
    """

    submitted: list[str] = []
    collected: bool = False
    scored: dict[str, dict[str, dict[str, float]]] = {}

    @staticmethod
    def load(state: WorkflowState) -> EvaluationState:
        """Return the stored state of the current workflow; at first an empty one."""
        stored = state.load()
        return EvaluationState() if stored is None else msgspec.convert(stored, EvaluationState)

    def save(self, state: WorkflowState) -> None:
        """Store this as the state of the current workflow.

        Raises:
            WorkspaceError: It cannot be written; the earlier state is still there.
        """
        state.save(msgspec.to_builtins(self))
