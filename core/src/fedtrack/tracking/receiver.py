"""Receiver: the base class of the classes that put records into a tracking backend.

The laws, checked by ``fedtrack.testing.ReceiverContract``:

* One instance serves all sites of one run, and ends with that run. Only one thread ever calls it.
* ``open`` comes before anything else. It may raise ``Transient`` and is then called again later.
* ``receive`` sees each supported record at least once, in order per (site, stream). A site that was never
  seen before is created on its first record.
* ``flush`` is idempotent. After it, everything received survives SIGKILL, as far as the backend can do so.
* ``close`` always runs, also after a failure in ``open``, and is idempotent.
* The site's wall time and step are kept and never invented. A bool is not a number. NaN and infinities do not
  break a batch. Keys that the backend refuses are encoded reversibly and never dropped.

Construction must not import the backend's SDK, touch files or read the environment, because building a job
constructs its receivers too. ``open`` does all of that.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from fedtrack.errors import ConfigError
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import FED_EVENT, Batch
from fedtrack.tracking.records import Metric, Record


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that a receiver serves.

    Attributes:
        run_id: Unique id of this run, stable when it is resumed or replayed: ``[a-z0-9-]{1,64}``.
        job_name: The job's name as the user wrote it.
        folder: The folder of this node's results; a receiver puts its files there.
        node: ``"server"`` or the name of the site that hosts the receiver.
        sites: The sites that the job names; records of other sites may still arrive.
        started_ns: Wall clock at the start of the run, nanoseconds since the epoch.
        blobs: Holds the large values of Text, Image and Artifact records.
        facts: What the run's job says of itself, by name: ``rounds``, ``aggregator``, ``workflows``, ``job_hash``.
    """

    run_id: str
    job_name: str
    folder: Path
    node: str
    sites: tuple[str, ...]
    started_ns: int
    blobs: BlobStore
    facts: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Results:
    """The place where a receiver put its records.

    Attributes:
        location: A path or URL that a person can open.
        command: The shell command that shows it (``tensorboard --logdir ...``), or "" if there is none.
    """

    location: str
    command: str = ""


class ReceiverOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Options that every receiver has; a receiver adds its own in a subclass.

    Attributes:
        events: The events to listen to. None means ``fed.analytix_log_stats`` on the server and
            ``analytix_log_stats`` on a site, as for FLARE's receivers.
    """

    events: list[str] | None = None


class Receiver(ABC):
    """Puts records into one backend.

    Its arguments are the fields of ``Options``, by name or in their order; ``events`` comes last unless ``Options``
    declares it elsewhere. An unknown or ill-typed argument raises ConfigError.

    Class attributes:
        name: The name that users type, unique among installed receivers: ``[a-z0-9_-]+``.
        summary: One line for listings.
        supports: Record kinds that the backend can hold. Others are counted, never silently dropped.
        aliases: Further names under which a job file may name this receiver.
        requires: Top-level modules of the SDK that ``open`` imports. If one is missing, the user is told so
            before the job starts, together with ``install``.
        install: The command that installs them.
        folder_argument: Name of the option with the folder of its files, if it has one. A second receiver of this class
            on a node, with the same options, gets a folder of its own through it.
        variables: Patterns of the environment variables that ``${ENV:NAME}`` in a job may stand for in its arguments,
            such as ``("MLFLOW_*",)``; by default those that begin with the receiver's name. The operator of a node can
            allow more.
        api: The version of the receiver interface that the class was written for.
        Options: The typed arguments.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    supports: ClassVar[frozenset[type[Record]]]
    aliases: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ()
    install: ClassVar[str] = ""
    folder_argument: ClassVar[str] = ""
    variables: ClassVar[tuple[str, ...]] = ()
    api: ClassVar[int] = 1
    Options: ClassVar[type[ReceiverOptions]] = ReceiverOptions

    #: Seconds between a ``flush`` and the next ``receive``, read before each ``receive``. A backend with a high cost
    #: per call sets it, to get fewer and larger calls. Records that come after a longer silence, or that fill one
    #: call, do not wait.
    gather_seconds: float = 0.25

    #: The most records in one call of ``receive``.
    max_records: int = 1000

    #: Called by a ``count`` that takes long, with the number of steps that are done and that of all steps. ``fedtrack
    #: runs verify`` sets it on the receiver, and shows what is left.
    counting: Callable[[int, int], None] = staticmethod(lambda done, total: None)

    #: The arguments with ``${ENV:NAME}`` as the job has it, if the instance was built with what stands behind that.
    arguments_as_written: Mapping[str, Any] | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "Options" in cls.__dict__:
            if not (isinstance(cls.Options, type) and issubclass(cls.Options, ReceiverOptions)):
                raise TypeError(f"{cls.__name__}.Options is {cls.Options!r}; it must be a subclass of ReceiverOptions")
            cls.__signature__ = _signature(cls.Options)  # type: ignore[attr-defined]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        positional = list(_signature(self.Options).parameters)
        if len(args) > len(positional):
            raise ConfigError(
                f"{type(self).__name__} takes at most {len(positional)} positional arguments "
                f"({', '.join(positional)}), got {len(args)}."
            )
        merged = dict(zip(positional, args, strict=False))
        if twice := merged.keys() & kwargs.keys():
            raise ConfigError(f"{type(self).__name__} got {sorted(twice)[0]!r} both by position and by name.")
        try:
            self.options = msgspec.convert(merged | kwargs, self.Options)
        except msgspec.ValidationError as error:
            fields = ", ".join(self.Options.__struct_fields__)
            raise ConfigError(f"{type(self).__name__} ({self.name}): {error}; valid arguments: {fields}.") from None

    def check(self) -> None:  # noqa: B027 - optional
        """Check what the arguments need on this machine, such as a driver, without any connection.

        Called before a job or a replay starts, on the machine that runs it.

        Raises:
            ConfigError: Something is missing; the message says what to do.
        """

    def prepare(self) -> None:  # noqa: B027 - optional
        """Import what ``open`` needs, if that takes long.

        Called once, in a thread of its own, as soon as a run begins, while the sites' processes are starting.
        ``open`` may be called before ``prepare`` has ended. An exception is ignored, because ``open`` will meet
        the same problem.
        """

    @abstractmethod
    def open(self, run: RunInfo) -> None:
        """Connect to the backend, and create this run in it, or adopt the run if the backend has it already.

        Raises:
            Transient: The backend cannot be reached now.
        """

    @abstractmethod
    def receive(self, batch: Batch) -> None:
        """Hand the batch's records to the backend.

        Raises:
            Transient: Try the whole batch again later.
            Permanent: Some records will never be accepted.
        """

    def flush(self) -> None:  # noqa: B027 - a backend without buffers has nothing to flush
        """Make everything received so far survive the death of this process."""

    def close(self, status: str) -> None:  # noqa: B027 - optional as well
        """Release the backend; ``status`` is ``"completed"``, ``"failed"`` or ``"aborted"``."""

    def count(self, sites: Sequence[str]) -> Mapping[str, int] | None:
        """Count the metric points of each site in the backend; return None, the default, if that is not possible.

        ``fedtrack runs verify`` compares the counts with the journal. Count the points that the backend would show,
        by asking the backend, never from the memory of this object. Called after ``open`` and instead of
        ``receive``; a site that the backend does not know has 0.

        Raises:
            Transient: The backend cannot be reached now.
        """
        return None

    def point(self, metric: Metric) -> Hashable | None:
        """Return the key of a metric point within its site, for a backend that stores points with equal keys once.

        None, the default, means that the backend stores every point. ``verify`` expects ``count`` to return the
        number of different keys.
        """
        return None

    def results(self) -> Results | None:
        """Return where the records are, or None if there is nothing to look at.

        Called after ``open`` and after ``close``.
        """
        return None


def _signature(options: type[ReceiverOptions]) -> inspect.Signature:
    """Return the constructor's signature for these options."""
    names = list(options.__struct_fields__)
    # msgspec lists inherited fields first; FLARE's receivers have events behind their own arguments, or among them.
    own = [name for name in inspect.get_annotations(options) if name in names]
    names = [*(name for name in names if name not in (*own, "events")), *own]
    if "events" not in own:
        names.append("events")
    fields = inspect.signature(options).parameters
    names.sort(key=lambda name: fields[name].default is not inspect.Parameter.empty)  # stable: required ones first
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([fields[name].replace(kind=kind) for name in names])


def listened_events(receiver: Receiver, node_event: str = FED_EVENT) -> tuple[str, ...]:
    """Return the events that the receiver listens to on a node whose own events are ``node_event``."""
    events = receiver.options.events
    return (node_event,) if events is None else tuple(events)
