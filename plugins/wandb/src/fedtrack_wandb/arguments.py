"""The arguments of ``wandb.init`` for the run of a site."""

from __future__ import annotations

import logging
from typing import Any

from fedtrack import RunInfo
from fedtrack_wandb import names
from fedtrack_wandb.options import WandBOptions, project_from

log = logging.getLogger(__name__)

#: W&B's limit for the name of a group.
MAX_GROUP_CHARS = 128

#: Seconds that the W&B server may take to accept a run.
INIT_TIMEOUT = 30.0

#: Seconds between two writes of wandb-core's buffer to the run's file; W&B's default is 15.
FLUSH_INTERVAL = 0.05

#: Settings that keep the server's machine, code and console out of a site's run.
_QUIET = {
    "silent": True,
    "console": "off",
    "disable_git": True,
    "save_code": False,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_save_requirements": False,
    "allow_media_symlink": False,
}


def init_arguments(options: WandBOptions, run: RunInfo, site: str, base_url: str) -> dict[str, Any]:
    """Return the keyword arguments of ``wandb.init`` for the run of ``site``, without touching the SDK's state.

    Args:
        options: The receiver's options.
        run: The run that the receiver serves.
        site: The site's name.
        base_url: The W&B server, or "" offline.
    """
    args = options.wandb_args
    return {
        "id": names.run_id(run.run_id, site),
        "project": args.project or project_from(run.job_name),
        "entity": args.entity,
        "name": f"{args.name or run.job_name}-{site}",
        "group": args.group or f"{run.job_name}-{run.run_id}"[:MAX_GROUP_CHARS],  # one group for each run of the job
        "job_type": args.job_type,
        "notes": args.notes,
        "tags": list(args.tags),
        "config": args.config | {names.OWN_KEY: {"job": run.job_name, "run_id": run.run_id, "site": site}},
        "mode": options.mode,
        "dir": str(run.folder),
        "resume": "allow",  # a restarted job and a replay continue an existing run
        "reinit": "create_new",  # many runs at once in one process
        "settings": _settings(options.process_timeout, base_url),
    }


def project_page(options: WandBOptions, run: RunInfo, base_url: str) -> str:
    """Return the URL of the project's page, or of the server if only the server knows the entity yet."""
    import wandb

    page = str(wandb.Settings(base_url=base_url).app_url)
    args = options.wandb_args
    return f"{page}/{args.entity}/{args.project or project_from(run.job_name)}" if args.entity else page


def _settings(finish_timeout: float, base_url: str) -> Any:
    import wandb

    known: dict[str, Any] = _QUIET | {
        "init_timeout": INIT_TIMEOUT,
        "finish_timeout": finish_timeout,
        "finish_timeout_raises": True,
        "stop_fn": _refuse_to_stop,
        "x_transaction_log_flush_interval": FLUSH_INTERVAL,
    }
    if base_url:
        # Without it, wandb would use the server of the previous run in this process.
        known["base_url"] = base_url
    return wandb.Settings(**known)


def _refuse_to_stop() -> None:
    """Do nothing. By default W&B sends Ctrl-C to the main thread, which would end the whole federated job."""
    log.warning("Somebody asked in W&B to stop a site's run; a receiver never stops a job, so this is ignored.")
