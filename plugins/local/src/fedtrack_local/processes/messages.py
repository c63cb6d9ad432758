"""The messages between server, fork server and sites: msgpack of typed structures, never pickle."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from fedtrack.spool import DEFAULT_LIMIT_BYTES, Durability


class SendTask(msgspec.Struct, tag="task", forbid_unknown_fields=True):
    """Server to site: do this. A model that belongs to it lies in the site's exchange folder."""

    task_id: int
    name: str
    has_params: bool
    start_round: int
    current_round: int | None
    total_rounds: int | None
    meta: dict[str, Any]
    optional: bool = False


class EndRun(msgspec.Struct, tag="end", forbid_unknown_fields=True):
    """Server to site: there will be no further task."""


class SendResult(msgspec.Struct, tag="result", forbid_unknown_fields=True):
    """Site to server: the answer to a task. Its parameters lie in the site's exchange folder."""

    task_id: int
    has_params: bool
    params_type: str | None
    metrics: dict[str, float] | None
    meta: dict[str, Any]


class SkipTask(msgspec.Struct, tag="skip", forbid_unknown_fields=True):
    """Site to server: the script went on without answering an optional task."""

    task_id: int


class RunSites(msgspec.Struct, tag="sites", forbid_unknown_fields=True):
    """Server to worker: do this task for these sites, in this order.

    Attributes:
        task_id: The task.
        group: Number of the group within the task.
        name: The task's name.
        model: File of the global model, or "".
        partial: File to write the average of the sites' results to.
        sites: Name, and position among the job's sites, of each.
        current_round: Counted from 0; None outside rounds.
        total_rounds: How many rounds the job has.
        meta: For ``FLModel.meta``.
        aggregator: Name of what averages the results of a train task.
    """

    task_id: int
    group: int
    name: str
    model: str
    partial: str
    sites: list[tuple[str, int]]
    current_round: int | None
    total_rounds: int | None
    meta: dict[str, Any]
    aggregator: str = "weighted"


class SiteResult(msgspec.Struct, forbid_unknown_fields=True):
    """What a site of a worker answered, without parameters; or why it has failed, and with which traceback."""

    site: str
    metrics: dict[str, float] | None = None
    meta: dict[str, Any] = {}
    error: str = ""
    traceback: str = ""


class SitesDone(msgspec.Struct, tag="done", forbid_unknown_fields=True):
    """Worker to server: the answer to RunSites.

    Attributes:
        task_id: The task.
        group: The group.
        results: One for each site, in their order.
        averaged: Whether the file with the average was written.
        logged: How many log calls of each site returned in this task and found room.
    """

    task_id: int
    group: int
    results: list[SiteResult]
    averaged: bool
    logged: dict[str, int]


class Built(msgspec.Struct, tag="built", forbid_unknown_fields=True):
    """Builder of the initial model to server: its file is written."""


class SiteFailed(msgspec.Struct, tag="failed", forbid_unknown_fields=True):
    """Site to server: the script raised."""

    error: str
    traceback: str


class SiteLeft(msgspec.Struct, tag="left", forbid_unknown_fields=True):
    """Site to server: the script is done; how many log calls returned, how many found no room, in which streams."""

    logged: int
    dropped: int
    streams: list[str]


ToSite: TypeAlias = SendTask | EndRun
FromSite: TypeAlias = SendResult | SkipTask | SitesDone | SiteFailed | SiteLeft | Built
ToWorker: TypeAlias = RunSites | EndRun


class SiteSpec(msgspec.Struct, forbid_unknown_fields=True):
    """All that a site's process needs to know; paths are absolute.

    Attributes:
        name: The site.
        run_id: The run.
        script: The training script.
        args: Its arguments.
        custom: The folder it lies in; also the process's working folder.
        spool: Where its records go.
        exchange: Where models lie that cross between server and site.
        log: Where its output goes.
        framework: ``pytorch`` or ``numpy``.
        external: The command of an external process, or empty for a fork.
        environment: Variables to set.
        threads: How many threads a tensor operation may use.
        config: What ``get_config`` returns.
        durability: See ``fedtrack.spool.spool``.
        spool_limit: Likewise, bytes.
    """

    name: str
    run_id: str
    script: str
    args: list[str]
    custom: str
    spool: str
    exchange: str
    log: str
    framework: Literal["numpy", "pytorch"]
    external: list[str]
    environment: dict[str, str]
    threads: int
    config: dict[str, Any]
    durability: Durability = "process"
    spool_limit: int = DEFAULT_LIMIT_BYTES


class WorkerSpec(msgspec.Struct, forbid_unknown_fields=True):
    """All that a process needs to know that works for many sites; paths are absolute.

    Attributes:
        name: The worker.
        run_id: The run.
        script: The file with the ClientApp.
        app: Its name in there.
        args: What ``SiteContext.args`` gives.
        custom: The folder the file lies in; also the process's working folder.
        spool: Where records go.
        states: Where the sites' state is kept.
        position: File that says at which site of its group the worker is.
        log: Where output goes.
        framework: ``pytorch`` or ``numpy``.
        environment: Variables to set.
        threads: How many threads a tensor operation may use.
        total_sites: How many sites the job has.
        durability: See ``fedtrack.spool.spool``.
        spool_limit: Likewise, bytes.
    """

    name: str
    run_id: str
    script: str
    app: str
    args: dict[str, Any]
    custom: str
    spool: str
    states: str
    position: str
    log: str
    framework: Literal["numpy", "pytorch"]
    environment: dict[str, str]
    threads: int
    total_sites: int
    durability: Durability
    spool_limit: int


class Preload(msgspec.Struct, tag="preload", forbid_unknown_fields=True):
    """Server to fork server: import these modules before the first site is forked."""

    modules: list[str]


class Spawn(msgspec.Struct, tag="spawn", forbid_unknown_fields=True):
    """Server to fork server: start a site; the descriptor of its channel comes with the message."""

    spec: SiteSpec


class SpawnWorker(msgspec.Struct, tag="spawn_worker", forbid_unknown_fields=True):
    """Server to fork server: start a worker; likewise."""

    spec: WorkerSpec


class Build(msgspec.Struct, tag="build", forbid_unknown_fields=True):
    """Server to fork server: build the initial model in a process of its own, which has a channel too."""

    script: str
    callable_name: str
    args: dict[str, Any]
    target: str
    log: str


class Kill(msgspec.Struct, tag="kill", forbid_unknown_fields=True):
    """Server to fork server: send a signal to a child and everything it started."""

    name: str
    signal: int


class Exited(msgspec.Struct, tag="exited", forbid_unknown_fields=True):
    """Fork server to server: a child is gone; ``status`` as ``os.waitstatus_to_exitcode`` gives it."""

    name: str
    status: int


ToForkServer: TypeAlias = Preload | Spawn | SpawnWorker | Build | Kill

#: Larger control messages are refused; models never travel in them.
MAX_MESSAGE = 1024 * 1024

encode = msgspec.msgpack.Encoder().encode
decode_to_site: msgspec.msgpack.Decoder[ToSite] = msgspec.msgpack.Decoder(ToSite)
decode_to_worker: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
decode_from_site: msgspec.msgpack.Decoder[FromSite] = msgspec.msgpack.Decoder(FromSite)
decode_to_fork_server: msgspec.msgpack.Decoder[ToForkServer] = msgspec.msgpack.Decoder(ToForkServer)
decode_exited: msgspec.msgpack.Decoder[Exited] = msgspec.msgpack.Decoder(Exited)
