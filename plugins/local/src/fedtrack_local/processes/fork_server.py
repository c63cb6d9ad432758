"""The fork server: it imports the modules of the training scripts once, then forks a process per site.

Importing torch and using an optimizer for the first time takes longer than a small job's training. It happens here
while the server is starting, and never in the server itself. When the server ends, the fork server ends with all its
children.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic

from fedtrack_local.processes.descendants import signal_descendants
from fedtrack_local.processes.messages import (
    MAX_MESSAGE,
    Build,
    Built,
    Exited,
    Kill,
    Preload,
    Spawn,
    SpawnWorker,
    decode_to_fork_server,
    encode,
)
from fedtrack_local.processes.site_process import become_site, detach
from fedtrack_local.source_file import forget_main
from fedtrack_local.workers.worker_process import become_worker

_GRACE_SECONDS = 2.0


class ForkServer:
    """Serves one server over one socket.

    Args:
        control: Sequenced packets: one message each, descriptors as ancillary data.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._children: dict[str, tuple[int, int]] = {}
        self._commands: set[str] = set()
        self._is_cold = False

    def serve(self) -> None:
        """Serve until the server is gone, then end every child."""
        try:
            while self._serve_once():
                pass
        finally:
            self._end_children()

    def _serve_once(self) -> bool:
        # If the server has already ordered the initial model, its process builds it while torch is warmed up here.
        events = self._selector.select(0 if self._is_cold else None)
        if not events:
            self._warm_up()
        for key, _ in events:
            if key.fileobj is self._control:
                data, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, 1)
                if not data:
                    return False
                self._handle(data, descriptors)
            else:
                self._reap(key.data)
        return True

    def _handle(self, data: bytes, descriptors: list[int]) -> None:
        message = decode_to_fork_server.decode(data)
        if isinstance(message, Preload):
            with without_garbage_collection():
                for module in message.modules:
                    preload(module)
            self._is_cold = "torch" in message.modules
        elif isinstance(message, Spawn):
            self._warm_up()
            if message.spec.external:
                self._commands.add(message.spec.name)
            self._fork(message.spec.name, lambda: become_site(message.spec, descriptors[0]))
        elif isinstance(message, SpawnWorker):
            self._warm_up()
            self._fork(message.spec.name, lambda: become_worker(message.spec, descriptors[0]))
        elif isinstance(message, Build):
            self._fork(message.name, lambda: _build(message, descriptors[0]))
        elif isinstance(message, Kill):
            self._signal(message.name, message.signal)
        for descriptor in descriptors:
            os.close(descriptor)

    def _warm_up(self) -> None:
        if self._is_cold:
            self._is_cold = False
            with without_garbage_collection():
                warm_up_torch()
            forget_torch_finalizers()

    def _fork(self, name: str, run: Callable[[], object]) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                self._control.close()
                self._selector.close()
                for _, descriptor in self._children.values():
                    os.close(descriptor)
                run()
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)  # the child does the same, so that from now on a signal reaches the group
        descriptor = os.pidfd_open(pid)
        self._children[name] = (pid, descriptor)
        self._selector.register(descriptor, selectors.EVENT_READ, name)

    def _reap(self, name: str) -> None:
        pid, descriptor = self._children.pop(name)
        _, status = os.waitpid(pid, 0)
        # Processes that the site's script started, such as data loader workers, end with it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        self._selector.unregister(descriptor)
        os.close(descriptor)
        with contextlib.suppress(OSError):
            self._control.send(encode(Exited(name, os.waitstatus_to_exitcode(status))))

    def _signal(self, name: str, number: int) -> None:
        if name in self._children:
            pid = self._children[name][0]
            if name in self._commands:  # what a launcher starts may have a group of its own
                with contextlib.suppress(OSError):
                    signal_descendants(pid, number)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)

    def _end_children(self) -> None:
        deadline = monotonic() + _GRACE_SECONDS
        for name in self._children:
            self._signal(name, signal.SIGTERM)
        while self._children and monotonic() < deadline:
            for key, _ in self._selector.select(0.1):
                if key.fileobj is self._control:
                    self._selector.unregister(self._control)
                else:
                    self._reap(key.data)
        for name in list(self._children):
            self._signal(name, signal.SIGKILL)
            self._reap(name)


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Import without garbage collection, which would scan all objects again and again and free nothing.

    The imported objects are frozen: a collection in a child would free none of them, and would copy their pages.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def forget_torch_finalizers() -> None:
    """Remove torch's 200 finalizers, which would take 40 ms at the end of each child to free what the kernel frees.

    Other finalizers stay, because they may remove things that outlive the process, such as a temporary folder.
    """
    for finalizer in list(getattr(weakref.finalize, "_registry", ())):
        alive = finalizer.peek()
        if alive is not None and getattr(alive[1], "__module__", "") == "torch.library":
            finalizer.atexit = False


def preload(module: str) -> None:
    """Import ``module`` if possible; otherwise the script that needs it raises the error."""
    try:
        imported = importlib.import_module(module)
        if module == "torch":
            imported.set_num_threads(1)  # OpenMP's pool does not survive a fork
    except Exception:
        traceback.print_exc()


def warm_up_torch() -> None:
    """Use an optimizer once, which makes torch import more modules and takes 1 to 4 seconds."""
    torch = sys.modules.get("torch")
    if torch is None:  # its import failed
        return
    # No random numbers: seeds must stay as they are.
    weight = torch.zeros(1, requires_grad=True)
    # Without backward(), which starts CUDA's driver and its threads: no process that is forked afterwards could use a
    # GPU, or call backward() itself.
    weight.grad = torch.zeros(1)
    found, torch.cuda.is_available = torch.cuda.is_available, lambda: False  # asking starts the driver too
    try:
        torch.optim.SGD([weight], lr=0.1).step()
    except Exception:
        traceback.print_exc()
    finally:
        torch.cuda.is_available = found


def _build(message: Build, channel: int) -> None:
    detach(Path(message.log))
    from fedtrack.job import ModelRecipe
    from fedtrack_local.models.initial_model import build_model

    try:
        forget_main()
        recipe = ModelRecipe(Path(message.script), message.callable_name, message.args)
        build_model(recipe, Path(message.target))
        Connection(channel).send_bytes(encode(Built()))
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Serve on the socket whose descriptor is the first argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    ForkServer(control).serve()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # the server waits for this process, and with torch loaded the interpreter's shutdown takes seconds


if __name__ == "__main__":
    main()
