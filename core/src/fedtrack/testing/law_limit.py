"""Law limit: a law whose receiver hangs ends, and says which law it was and where the receiver hangs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from fedtrack.deadline import deadline

#: Seconds from the interruption of a law until its process is ended; helpers of a backend may need some to leave.
GRACE_SECONDS = 30.0

#: Waits for the end of its standard input, then ends; after the time it ends the process that hangs.
_WATCH = """
import os, select, signal, sys
pid, seconds, law = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
if not select.select([sys.stdin], [], [], seconds)[0]:
    sys.stderr.write(
        f"\\nThe law {law} did not end in {seconds:g} s, and its receiver cannot be interrupted: a call holds the "
        "interpreter's lock, or waits in C. The tracebacks of the process follow; it is ended.\\n"
    )
    sys.stderr.flush()
    os.kill(pid, signal.SIGABRT)
"""


@contextlib.contextmanager
def law_limit(law: str, seconds: float, stderr: int) -> Iterator[None]:
    """Let a law fail after its time.

    A receiver that sleeps or loops is interrupted where it is. One whose call never returns to the interpreter cannot
    be: a process beside this one then names the law and ends this process, whose fault handler shows where it hangs.

    Args:
        law: The name of the law.
        seconds: The time of the law.
        stderr: A descriptor of standard error that nobody captures.
    """
    import faulthandler

    was_enabled = faulthandler.is_enabled()
    faulthandler.enable(stderr)
    command = [sys.executable, "-S", "-c", _WATCH, str(os.getpid()), str(seconds + GRACE_SECONDS), law]
    watch = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr)
    try:
        with deadline(seconds):
            yield
    finally:
        assert watch.stdin is not None  # noqa: S101 - opened above; narrows the type
        watch.stdin.close()
        watch.wait()
        if not was_enabled:
            faulthandler.disable()
