"""Threats: the rows T1 to T14 of docs/security.md; a test joins its row by ``@pytest.mark.threat("T3")``."""

from __future__ import annotations

from dataclasses import dataclass

#: What only an engine can close that runs each site as another user.
SAME_USER = "not on the local engine: same user"


@dataclass(frozen=True)
class Threat:
    """One threat.

    Attributes:
        id: Its name in the marker.
        what: What somebody tries.
        defence: What stands in the way.
        gaps: What is still open, one sentence each; without any the row is defended.
        same_user: Whether the local engine cannot defend against it, because its sites are one user.
    """

    id: str
    what: str
    defence: str
    gaps: tuple[str, ...] = ()
    same_user: bool = False


THREATS = (
    Threat(
        "T1",
        "A site logs in the name of another one.",
        "A record has no field for the site. The site is that of the channel: its socket, its token, its certificate.",
        same_user=True,
    ),
    Threat(
        "T2",
        "A site floods the server, or fills its disk or its memory.",
        "Messages, keys and values have bounds. A site has a quota of records and bytes a second, of streams, "
        "unfinished files and listed losses, and a share of each pass; what is over it waits in its own bounded spool.",
        gaps=("The number of different keys of a site has no limit.",),
    ),
    Threat(
        "T3",
        "A name of a site, a run, a metric or a file leads out of its folder.",
        "What becomes a path is checked where it is loaded. What is logged never becomes a path as it is.",
        gaps=("Paths of a job folder are checked only where the job is built.",),
    ),
    Threat(
        "T4",
        "A job file or a record executes code.",
        "A job names installed plugins, never classes. Every message is a typed structure without unknown fields.",
    ),
    Threat(
        "T5",
        "Text of a site changes a terminal, a page or a dashboard.",
        "Text is printed through one function, which shows control characters and markup as they are. Pages escape it.",
        gaps=("Text reaches backends as it was logged.",),
    ),
    Threat(
        "T6",
        "A model update executes code, or names more memory than there is.",
        "Models are safetensors files with a bounded header, and their sizes are compared before anything is read. "
        "They cross as sealed or copied files, which their maker cannot change.",
    ),
    Threat(
        "T7",
        "A model update spoils the average.",
        "Names, shapes and finite values are required, and no implausible number of steps is believed. A job can cap "
        "weights and norms, or average robustly.",
    ),
    Threat(
        "T8",
        "A secret gets into a file, a log, a traceback or a list of processes.",
        "A job refers to a secret by ${ENV:NAME}. Every text of a process that knows the value shows the reference. "
        "Which variables a job may read, and which hosts it may name, is the operator's.",
    ),
    Threat(
        "T9",
        "Credentials of a backend reach a site.",
        "Receivers run beside the server, whose environment the kernel keeps to itself. A site gets listed variables.",
        same_user=True,
    ),
    Threat(
        "T10",
        "Another user of the machine reads or changes files of a run.",
        "Folders are 0700 and files 0600 from their first moment. A folder that others own or can write is refused.",
        same_user=True,
    ),
    Threat(
        "T11",
        "Somebody reaches the collector without a token, or through a browser.",
        "It binds the loopback interface. Elsewhere it requires TLS, and every request needs a token.",
    ),
    Threat(
        "T12",
        "A false server or backend attacks a site.",
        "Answers are typed and bounded. Certificates are verified, and no redirection is followed.",
    ),
    Threat(
        "T13",
        "Somebody repeats or changes messages on their way.",
        "TLS protects them. A repeated message changes nothing: each record has its number.",
    ),
    Threat(
        "T14",
        "A dependency or a tool is replaced.",
        "There are few dependencies, with pinned versions. Workflows read the repository only.",
    ),
)
