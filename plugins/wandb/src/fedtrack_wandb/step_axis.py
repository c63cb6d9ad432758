"""StepAxis: the x-axis of each key in W&B, which is the script's step or the order of arrival."""

from __future__ import annotations

from fedtrack_wandb import names
from fedtrack_wandb.core_process import Run


class StepAxis:
    """The x-axis of every key of one site.

    The first record of a key decides, and the axis never changes: if it has a step, the key is plotted over
    ``global_step``, otherwise over W&B's own counter, which every row has.
    """

    def __init__(self) -> None:
        self._over_step: dict[str, bool] = {}
        self._defined: set[str] = set()

    def forget_definitions(self) -> None:
        """Let ``place`` define every key again, because the run was started again."""
        self._defined.clear()

    def place(self, run: Run, key: str, step: int | None) -> None:
        """Tell ``run`` the axis of ``key`` before its first row."""
        if not self._over_step.setdefault(key, step is not None) or key in self._defined:
            return
        # Key by key: the client does not expand a wildcard, and a wildcard does not match "/". Without
        # step_sync=False, W&B would give a row without a step the step of the row before.
        run.define_metric(key, step_metric=names.STEP_KEY, step_sync=False)
        self._defined.add(key)
