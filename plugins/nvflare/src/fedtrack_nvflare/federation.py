"""Federation: a FLARE system, POC or production, that an admin reaches through a startup kit."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import msgspec

from fedtrack import RunResult
from fedtrack.engine import Problem, RunHandle, RunState, RunStatus, checked_run_id
from fedtrack.errors import ConfigError, EngineError, EngineUnavailable, JobRejected, NotSupported, RunNotFound
from fedtrack.job import LoadedJob, load_job
from fedtrack_nvflare.export import are_alike, drain_name, export, export_drain, flare_name
from fedtrack_nvflare.node import RESULTS, STATE_FILE, RunEnd
from fedtrack_nvflare.simulator import bring

T = TypeVar("T")

_CONNECT_SECONDS = 15.0
#: Errors that FLARE logs while a job starts or ends, and that end no job: a site asks before its peer has started.
_NO_CAUSES = ("received unknown aux message topic",)
#: FLARE's states of a job that has a process on the server.
_STARTED = ("RUNNING", "DISPATCHED")
#: How often, and after how many seconds each, a job without a process is looked for before it counts as lost.
_LOOKS, _LOOK_SECONDS = 3, 2.0
#: Roles without the right to submit a job in FLARE's default policy.
_NO_SUBMITTERS = ("member", "org_admin")
#: The beginnings of FLARE's texts for a job's state, and their meanings.
_STATES = {
    "SUBMITTED": RunState.SUBMITTED,
    "APPROVED": RunState.SUBMITTED,
    "DISPATCHED": RunState.SUBMITTED,
    "RUNNING": RunState.RUNNING,
    "FINISHED:COMPLETED": RunState.COMPLETED,
    "FINISHED:ABORTED": RunState.ABORTED,
    "FINISHED:CAN_NOT_SCHEDULE": RunState.REJECTED,
    "REJECTED": RunState.REJECTED,
    "FAILED": RunState.FAILED,
    "FINISHED": RunState.FAILED,
}


class Federation:
    """A FLARE system.

    Args:
        target: The folder of an admin's startup kit: the one that holds ``startup/fed_admin.json``.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._kit = Path(target).absolute()
        if not (self._kit / "startup" / "fed_admin.json").is_file():
            raise ConfigError(
                f"{target!r} is no admin's startup kit; give the folder that holds startup/fed_admin.json, or "
                "simulator:WORKSPACE."
            )
        self._session: Any = None

    def check(self, job: LoadedJob) -> list[Problem]:
        """Return the system's problems with a job: missing sites, missing rights."""
        connected = self._connected()
        found = []
        if are_alike(job):
            needed = job.meta.min_clients or len(job.sites)
            if len(connected) < needed:
                found.append(Problem(f"The job needs {needed} sites, connected are {len(connected)}: {connected}."))
        else:
            missing = [site.name for site in job.sites if site.name not in connected]
            if missing:
                found.append(
                    Problem(f"The job's sites differ, and {missing} are not connected; connected: {connected}.")
                )
        if problem := self._role_problem():
            found.append(Problem(problem))
        return found

    def submit(self, folder: Path, run_id: str | None) -> RunHandle:
        """Send a job, unless the system already has one with this run id."""
        job = load_job(folder, node="")
        chosen = checked_run_id(run_id)
        name = flare_name(job.meta.name, chosen)
        if run_id is not None and (known := self._find(name)):
            return RunHandle("nvflare", self._target, chosen, known)
        with tempfile.TemporaryDirectory() as scratch:
            written = export(folder, Path(scratch), chosen)
            try:
                native_id = self._do(lambda session: session.submit_job(str(written)))
            except NotSupported as error:
                raise JobRejected([str(error)]) from None
        return RunHandle("nvflare", self._target, chosen, native_id)

    def status(self, run: RunHandle) -> RunStatus:
        """Return the status of a run."""
        meta = self._meta(run)
        text = str(meta.get("status", ""))
        found = [state for start, state in _STATES.items() if text == start or text.startswith(f"{start}:")]
        state = found[0] if found else RunState.RUNNING
        if not state.is_final:
            return self._lost(run, text) or RunStatus(state, text)
        try:
            end = self._end(run)
        except NotSupported:
            hint = "whether all events arrived is for the server's own admins to read; 'fedtrack runs fetch' tells"
            return RunStatus(state, f"{text}; {hint}")
        if end is None:
            return RunStatus(state, text)
        detail = f"{text}; {end.remark}" if end.remark else text
        return RunStatus(state, detail, end.events_complete, end.unserved)

    def _lost(self, run: RunHandle, text: str) -> RunStatus | None:
        """Return the status of a run whose server process died; None if the server runs it.

        A FLARE server that was killed and started again calls its earlier jobs RUNNING for ever, and runs none of them.
        """
        if text not in _STARTED:
            return None
        for attempt in range(_LOOKS):
            if attempt:
                sleep(_LOOK_SECONDS)  # FLARE sets the state and the list of its processes one after the other
            try:
                system = self._do(lambda session: session.get_system_info())
            except NotSupported:
                return None
            meta = self._meta(run)
            if run.native_id in {job.job_id for job in system.job_info} or str(meta.get("status", "")) != text:
                return None
            if _is_later(meta.get("submit_time"), system.server_info.start_time):
                return None  # this server took the job, so a process that is not there yet has only to start
        said = f"FLARE calls it {text}, but the server was killed or started again and runs no such job"
        try:
            end = self._end(run)
        except NotSupported:
            end = None
        if end is None:
            return RunStatus(RunState.LOST, f"{said}; to collect what its sites still have: fedtrack runs drain HANDLE")
        found = end.remark or "all events arrived, by a drain"
        return RunStatus(RunState.LOST, f"{said}; {found}", end.events_complete, end.unserved)

    def abort(self, run: RunHandle) -> None:
        """End a run."""
        state = self.status(run).state
        if state is RunState.LOST:
            with contextlib.suppress(EngineError):  # nothing runs; this only corrects what FLARE calls it
                self._do(lambda session: session.abort_job(run.native_id))
        elif not state.is_final:
            self._do(lambda session: session.abort_job(run.native_id))

    def fetch(self, run: RunHandle, dest: Path) -> RunResult:
        """Download a run's results; after a drain, those of the last drain."""
        drains = self._drains(run)
        native_id = drains[-1] if drains else run.native_id
        if not drains and (status := self.status(run)).state is RunState.LOST:
            raise RunNotFound(f"The run {run.run_id} left no results: {status.detail}.")
        with tempfile.TemporaryDirectory() as scratch:
            location = self._do(lambda session: session.download_job_result(native_id))
            if not location or not Path(location).is_dir():
                raise RunNotFound(f"The system no longer has the results of {run.run_id}.")
            downloaded = Path(scratch) / "job"
            shutil.move(location, downloaded)
            if not (downloaded / "workspace" / RESULTS).exists():
                raise RunNotFound(f"The run {run.run_id} left no results{_last_error(downloaded / 'workspace')}.")
            return bring(downloaded / "workspace" / RESULTS, dest, run.run_id, move=True)

    def drain(self, run: RunHandle) -> RunHandle:
        """Send a job that collects the remaining events of ``run``."""
        name, number = self._name(run), len(self._drains(run)) + 1
        with tempfile.TemporaryDirectory() as scratch:
            written = export_drain(name, Path(scratch), run.run_id, number, len(self._connected()))
            native_id = self._do(lambda session: session.submit_job(str(written)))
        return RunHandle("nvflare", self._target, run.run_id, native_id)

    def close(self) -> None:
        """Close the admin session."""
        if self._session is not None:
            with contextlib.suppress(Exception):  # it is gone either way
                self._session.close()
            self._session = None

    def _connected(self) -> list[str]:
        return sorted(str(client.name) for client in self._do(lambda session: session.get_connected_client_list()))

    def _role_problem(self) -> str:
        """Return why this admin may not submit code, according to the kit; server and sites decide."""
        role = self._role()
        if role in _NO_SUBMITTERS:
            return f"The kit's role is {role}, which FLARE lets submit no jobs; use a kit of a lead or project_admin."
        return ""

    def _role(self) -> str:
        from cryptography import x509
        from cryptography.x509.oid import NameOID

        certificate = self._kit / "startup" / "client.crt"
        if not certificate.exists():
            return ""
        subject = x509.load_pem_x509_certificate(certificate.read_bytes()).subject
        names = subject.get_attributes_for_oid(NameOID.UNSTRUCTURED_NAME)
        return str(names[0].value) if names else ""

    def _name(self, run: RunHandle) -> str:
        """Return the run's name in FLARE, also for the handle of a drain of the run."""
        return str(self._meta(run).get("name", "")).partition(f".{run.run_id}")[0] + f".{run.run_id}"

    def _drains(self, run: RunHandle) -> list[str]:
        """Return the drains of a run, oldest first."""
        found: list[str] = []
        while known := self._find(drain_name(self._name(run), len(found) + 1)):
            found.append(known)
        return found

    def _find(self, name: str) -> str | None:
        jobs = self._do(lambda session: session.list_jobs(detailed=True, name_prefix=name))
        return next((str(job["job_id"]) for job in jobs if job.get("job_name", job.get("name")) == name), None)

    def _meta(self, run: RunHandle) -> dict[str, Any]:
        meta: dict[str, Any] = self._do(lambda session: session.get_job_meta(run.native_id))
        return meta

    def _end(self, run: RunHandle) -> RunEnd | None:
        """Ask the server whether all events of the run arrived; return None if it has no answer.

        Raises:
            NotSupported: This admin may not read the server's files.
        """
        path = f"fedtrack/runs/{run.run_id}/{STATE_FILE}"
        try:
            text = self._do(lambda session: session.cat_target("server", file=path))
            return msgspec.json.decode(text[text.index("{") : text.rindex("}") + 1], type=RunEnd)
        except (EngineUnavailable, RunNotFound, ValueError, msgspec.MsgspecError):
            return None

    def _do(self, call: Callable[[Any], T]) -> T:
        """Call a method of the admin session, and translate its errors.

        Raises:
            EngineUnavailable: The server cannot be reached, or failed.
            RunNotFound: The server does not know the job.
            JobRejected: The server refuses the job.
            NotSupported: The admin may not do this.
        """
        from nvflare.fuel.flare_api import api_spec

        session = self._connect()
        try:
            with _quiet():
                return call(session)
        except api_spec.JobNotFound as error:
            raise RunNotFound(f"The FLARE system does not know the job: {error}.") from None
        except api_spec.InvalidJobDefinition as error:
            raise JobRejected([str(error)]) from None
        except api_spec.AuthorizationError as error:
            raise NotSupported(f"The FLARE system does not let this admin do that: {error}.") from None
        except (api_spec.SessionClosed, api_spec.NoConnection) as error:
            self.close()
            raise EngineUnavailable(f"The FLARE server closed the session: {error}; try again.") from None
        except Exception as error:
            raise EngineUnavailable(f"The FLARE server failed: {type(error).__name__}: {error}.") from error

    def _connect(self) -> Any:
        if self._session is None:
            from nvflare.fuel.flare_api.flare_api import new_secure_session

            try:
                with _quiet():
                    self._session = new_secure_session(self._user(), str(self._kit), timeout=_CONNECT_SECONDS)
            except Exception as error:
                raise EngineUnavailable(
                    f"The FLARE server of {self._kit} cannot be reached: {type(error).__name__}: {error}."
                ) from None
        return self._session

    def _user(self) -> str:
        config = json.loads((self._kit / "startup" / "fed_admin.json").read_text())
        return str(config.get("admin", {}).get("username") or self._kit.name)


def _is_later(submitted: Any, started: Any) -> bool:
    """Return whether a job was submitted after the server started; times are seconds since the epoch, or unknown."""
    try:
        return float(submitted) >= float(started)
    except (TypeError, ValueError):
        return False


def _last_error(folder: Path) -> str:
    """Return the last line of the log of a failed server job, as the end of a sentence.

    It shows, for example, a plugin that is not installed there, or a class that the server does not allow.
    """
    try:
        lines = (folder / "error_log.txt").read_text(errors="replace").split("\n")
    except OSError:
        return ": its server died, or was killed before it could say"
    said = [line.strip() for line in lines if line.strip() and not any(words in line for words in _NO_CAUSES)]
    return f"; the last error of its server: {said[-1].rstrip('.')}" if said else ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the output of FLARE's session out of our own output."""
    import io

    with contextlib.redirect_stdout(io.StringIO()):
        yield
