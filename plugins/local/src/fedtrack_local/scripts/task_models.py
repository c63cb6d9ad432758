"""TaskModels: the models of tasks, which sites are given and none of them can change for another one."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fedtrack.runs import Workspace
from fedtrack_local.models.handed_model import MAX_HEADER, seal, take
from fedtrack_local.models.model_link import copy_for, hand_over
from fedtrack_local.models.model_memory import memory_limit, share_of
from fedtrack_local.processes.messages import SendTask
from fedtrack_local.processes.sites import SitePool
from fedtrack_local.room import when_there_is_room

#: A result has the tensors of the task's model, perhaps in a wider dtype: from 8 to 64 bits.
_WIDER = 8


class TaskModels:
    """Gives the models of tasks to sites, and takes those of their answers.

    A task's model is one sealed file in memory, which the sites share. If it is too large for that, each site is given
    a copy in its exchange folder.

    Args:
        workspace: The workspace of the run.
        pool: The sites' processes.
        sites: The number of sites.
    """

    def __init__(self, workspace: Workspace, pool: SitePool, sites: int) -> None:
        self._workspace = workspace
        self._pool = pool
        self._share = share_of(sites)
        self._largest = 0
        self._files: dict[int, int] = {}
        self._copies: dict[str, dict[int, Path]] = {}
        weakref.finalize(self, _close_all, self._files)  # also if the run fails

    def publish(
        self,
        params: Mapping[str, Any] | None,
        message: SendTask,
        sites: list[str],
        on_send: Callable[[str], object] = str,
    ) -> None:
        """Send a task to ``sites``, each with the model if there is one; ``on_send`` is called just before."""
        if params is None:
            file = source = None
        else:
            self._largest = max(self._largest, sum(int(array.nbytes) for array in params.values()))
            file, source = seal(params, memory_limit()), None
            if file is None:
                source = self._workspace.exchange / message.file
                when_there_is_room(partial(hand_over, params, source))
            else:
                self._files[message.task_id] = file
        for site in sites:
            if source is not None:
                path = self._workspace.exchange / site / message.file
                when_there_is_room(partial(copy_for, source, path))
                self._copies.setdefault(site, {})[message.task_id] = path
            on_send(site)
            self._pool.send(site, message, file)
            self._delete_copies(site)
        if source is not None:
            source.unlink()
        self._close_files()

    def take(self, site: str, file: int | None) -> tuple[dict[str, Any], int]:
        """Return the model that came with a site's answer, and its size in bytes.

        Raises:
            ModelError: It is not usable.
        """
        most = self._largest * _WIDER + MAX_HEADER if self._largest else None
        folder = self._workspace.exchange
        params, _, size = when_there_is_room(
            lambda: take(file, folder, self._share, most=most, name=f"the model that {site} sent")
        )
        return params, size

    def close(self) -> None:
        """Close the files of all tasks."""
        _close_all(self._files)

    def _close_files(self) -> None:
        """Close the models of tasks that no process of any site may still ask for."""
        for task_id in [number for number in self._files if not self._pool.needs_any(number)]:
            os.close(self._files.pop(task_id))

    def _delete_copies(self, site: str) -> None:
        copies = self._copies.get(site, {})
        for task_id in [number for number in copies if not self._pool.needs(site, number)]:
            copies.pop(task_id).unlink(missing_ok=True)


def _close_all(files: dict[int, int]) -> None:
    while files:
        os.close(files.popitem()[1])
