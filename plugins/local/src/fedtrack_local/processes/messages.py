"""The messages between server, fork server and sites: msgpack of typed structures, never pickle."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from fedtrack.policy import RunTerms, Terms
from fedtrack.spool import DEFAULT_LIMIT_BYTES, Durability
from fedtrack_local.processes.joining import CommandEnded, Join, Joined, Next, Taken


class SendTask(msgspec.Struct, tag="task", forbid_unknown_fields=True):
    """Server to site: do this task. Its model, if any, comes with the message, or is in the site's exchange folder."""

    task_id: int
    name: str
    has_params: bool
    start_round: int
    current_round: int | None
    total_rounds: int | None
    meta: dict[str, Any]
    optional: bool = False

    @property
    def file(self) -> str:
        """The name of the model's file in the site's exchange folder; no later task has the same."""
        return f"task-{self.task_id}.safetensors"


class EndRun(msgspec.Struct, tag="end", forbid_unknown_fields=True):
    """Server to site: there will be no further task."""


class SendResult(msgspec.Struct, tag="result", forbid_unknown_fields=True):
    """Site to server: the answer to a task. The file of its parameters comes with the message.

    ``seconds`` is the time that the script has had the task; ``last`` is the number of the last record before the
    answer in the stream of the process.
    """

    task_id: int
    has_params: bool
    params_type: str | None
    metrics: dict[str, float] | None
    meta: dict[str, Any]
    seconds: float | None = None
    stream: str = ""
    last: int = 0


class SkipTask(msgspec.Struct, tag="skip", forbid_unknown_fields=True):
    """Site to server: the script went on without answering an optional task."""

    task_id: int


class RunSites(msgspec.Struct, tag="sites", forbid_unknown_fields=True):
    """Server to worker: do this task for these sites, in this order.

    Attributes:
        task_id: The task.
        group: Number of the group within the task.
        name: The task's name.
        model: Name of the global model, or ""; it comes with the message, or is the file of this name.
        partial: File to write the average of the sites' results to, if it is too large for the memory.
        sites: Name of each site and its position among the job's sites.
        current_round: Counted from 0 over the job; None outside rounds.
        total_rounds: The number of rounds of the job at the end of the workflow.
        meta: The value of ``FLModel.meta``.
        aggregator: Name of the aggregator of a train task's results.
        start_round: The workflow's first round.
        needed: Names or patterns of the tensors that a result must have.
        max_weight: The most steps that count; 0 stands for no cap.
        max_norm: The largest L2 norm of an update; 0 stands for no cap.
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
    start_round: int = 0
    needed: tuple[str, ...] = ("*",)
    max_weight: float = 0.0
    max_norm: float = 0.0


class SiteResult(msgspec.Struct, forbid_unknown_fields=True):
    """The answer of one site of a worker, without parameters; or the error and traceback of a site that failed."""

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
        averaged: Whether there is an average; it comes with the message, or is in the file.
        logged: For each site, how many log calls in this task returned and found room.
        stream: The worker's stream.
        last: The number of the last record in it.
        seconds: For each site, how long the worker worked for it.
    """

    task_id: int
    group: int
    results: list[SiteResult]
    averaged: bool
    logged: dict[str, int]
    stream: str = ""
    last: int = 0
    seconds: dict[str, float] = {}


class Built(msgspec.Struct, tag="built", forbid_unknown_fields=True):
    """Builder of the initial model to server: the model's file is written."""


class SiteFailed(msgspec.Struct, tag="failed", forbid_unknown_fields=True):
    """Site to server: the script raised."""

    error: str
    traceback: str


class SiteLeft(msgspec.Struct, tag="left", forbid_unknown_fields=True):
    """Site or worker to server: it has ended.

    Attributes:
        logged: How many log calls returned.
        dropped: How many found no room.
        streams: The streams that these counts are about.
        late: Of a worker, the calls by site that it has not counted in an answer.
    """

    logged: int
    dropped: int
    streams: list[str]
    late: dict[str, int] = {}


ToSite: TypeAlias = SendTask | EndRun | Joined | Taken
FromSite: TypeAlias = Join | Next | CommandEnded | SendResult | SkipTask | SitesDone | SiteFailed | SiteLeft | Built
ToWorker: TypeAlias = RunSites | EndRun


class SiteSpec(msgspec.Struct, forbid_unknown_fields=True):
    """The start parameters of a site's process; paths are absolute.

    Attributes:
        name: The site.
        run_id: The run.
        script: The training script.
        args: Its arguments.
        custom: The script's folder, which is also the working folder of the process.
        spool: The folder of the site's spool.
        exchange: The folder of models that are too large for the memory.
        log: The file for the site's output.
        framework: ``pytorch`` or ``numpy``.
        external: The command of an external process, or empty for a fork.
        environment: Environment variables to set.
        threads: How many threads a tensor operation may use.
        config: The value that ``get_config`` returns.
        durability: See ``fedtrack.spool.spool``.
        spool_limit: Bytes; see ``fedtrack.spool.spool``.
        address: The path of the server's socket, for processes that the script or its command starts.
        secret: What such a process shows to the server.
        memory: The most bytes of a result that waits in memory.
        terms: What its records are released under; None releases all.
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
    address: str = ""
    secret: str = ""
    memory: int = 0
    terms: Terms | None = None


class WorkerSpec(msgspec.Struct, forbid_unknown_fields=True):
    """The start parameters of a worker, a process that works for many sites; paths are absolute.

    Attributes:
        name: The worker.
        run_id: The run.
        script: The file with the ClientApp.
        app: The name of the ClientApp in the file.
        args: The value of ``SiteContext.args``.
        custom: The file's folder, which is also the working folder of the process.
        spool: The folder of the worker's spool.
        states: The folder of the sites' states.
        position: The file in which the worker notes the site of its group that it is working for.
        log: The file for the worker's output.
        framework: ``pytorch`` or ``numpy``.
        environment: Environment variables to set.
        threads: How many threads a tensor operation may use.
        total_sites: The number of sites of the job.
        durability: See ``fedtrack.spool.spool``.
        spool_limit: Bytes; see ``fedtrack.spool.spool``.
        memory: The most bytes of an average that waits in memory.
        terms: What the records of its sites are released under.
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
    memory: int = 0
    terms: RunTerms = RunTerms()


class Preload(msgspec.Struct, tag="preload", forbid_unknown_fields=True):
    """Server to fork server: import these modules before the first site is forked."""

    modules: list[str]


class Spawn(msgspec.Struct, tag="spawn", forbid_unknown_fields=True):
    """Server to fork server: start a site; its end of the channel comes with the message."""

    spec: SiteSpec


class SpawnWorker(msgspec.Struct, tag="spawn_worker", forbid_unknown_fields=True):
    """Server to fork server: start a worker; its end of the channel comes with the message."""

    spec: WorkerSpec


class Build(msgspec.Struct, tag="build", forbid_unknown_fields=True):
    """Server to fork server: build the initial model in a new process; its channel comes with the message.

    ``name`` is that of the process: the end of the one before may be reported while the next one works.
    """

    name: str
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
    """Fork server to server: a child has ended; ``status`` is that of ``os.waitstatus_to_exitcode``."""

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
