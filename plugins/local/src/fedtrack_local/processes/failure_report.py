"""Failure report: what a site's process says about the exception that ends its script, in its log and to the server."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import TracebackType

from fedtrack.failure import Failure, failure_of_script, shortened
from fedtrack.policy import error_type
from fedtrack_local.processes.channel import Channel
from fedtrack_local.processes.messages import SiteFailed, encode


def report_failure(channel: Channel, error: BaseException, folder: str, *, hush: bool = False) -> None:
    """Write the reason of the process's end to the log and send it to the server.

    Args:
        channel: The process's channel to the server.
        error: The exception.
        folder: The folder of the script.
        hush: Whether the site has a policy, so that only the type of the error leaves it.
    """
    failure = in_script(error, folder)
    print(failure.text, file=sys.stderr, end="", flush=True)
    with contextlib.suppress(OSError):  # the server has ended; the traceback is in the log file
        failed = SiteFailed(str(failure), shortened(failure.text))
        channel.send_bytes(encode(hushed(failed) if hush else failed))


def hushed(failed: SiteFailed) -> SiteFailed:
    """Return what may leave a site with a policy: the type of the error. Its text may hold a value."""
    return SiteFailed(f"{error_type(failed.error)} (its text stays at the site, by its policy)", "")


def report_exit(channel: Channel, exit_: SystemExit, folder: str, *, hush: bool = False) -> int:
    """Return the status that ``sys.exit`` means; its text, if it has one, is written and sent as the reason."""
    if exit_.code is None or isinstance(exit_.code, int):
        return exit_.code or 0
    print(exit_.code, file=sys.stderr)
    with contextlib.suppress(OSError):
        # The text is the explanation; a traceback would hide it.
        failed = SiteFailed(str(in_script(exit_, folder)), "")
        channel.send_bytes(encode(hushed(failed) if hush else failed))
    return 1


def in_script(error: BaseException, folder: str) -> Failure:
    """Return an exception of the script in ``folder`` for its author, without the frames of this engine."""
    return failure_of_script(error, folder, ["fedtrack_local"])


def report_uncaught(send: Callable[[SiteFailed], None], folder: str) -> None:
    """Let this process, which the engine did not fork, send the exception that ends it, before Python prints it."""
    before: Callable[[type[BaseException], BaseException, TracebackType | None], object] = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        failure = in_script(error, folder)
        send(SiteFailed(str(failure), shortened(failure.text)))
        before(kind, error, trace)

    sys.excepthook = hook
