"""App: the addresses of the page and of its data. Everything is read, nothing is written but the view file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route

from fedtrack.errors import FedtrackError
from fedtrack.runs import StoredRun
from fedtrack_ui.across_data import across_data
from fedtrack_ui.count_data import count_data
from fedtrack_ui.followed_run import FollowedRun, FollowedRuns
from fedtrack_ui.item import read_item
from fedtrack_ui.places import runs_below
from fedtrack_ui.run_data import run_data
from fedtrack_ui.run_facts import RunFacts, facts_of
from fedtrack_ui.run_list import run_list
from fedtrack_ui.stream_data import stream_data

STATIC = Path(__file__).parent / "static"
#: The page's files: their media types, by name. Nothing else is served from the folder.
FILES = {
    "index.html": "text/html; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "uplot.css": "text/css; charset=utf-8",
    "uplot.js": "text/javascript; charset=utf-8",
    **dict.fromkeys(
        (
            "basics.js",
            "state.js",
            "header.js",
            "across.js",
            "matrix.js",
            "time.js",
            "delivery.js",
            "steps.js",
            "sites.js",
            "params.js",
            "media.js",
            "compare.js",
            "runs.js",
            "page.js",
        ),
        "text/javascript; charset=utf-8",
    ),
}
#: How often the state of a run is looked at for those who wait for news.
_LOOK_SECONDS = 0.3
#: After so many looks without news something is sent, so that a connection that is gone is noticed.
_QUIET_LOOKS = 40


class PageApp:
    """The page over the runs below a folder.

    Args:
        folder: A workspace, a collector's folder, or a folder with workspaces.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._followed = FollowedRuns()
        self._names: dict[str, StoredRun] = {}
        self._closing = False

    def asgi(self) -> Starlette:
        """Return the application."""
        run = "/api/runs/{name}"
        return Starlette(
            routes=[
                Route("/", self._file),
                Route("/static/{file}", self._file),
                Route("/api/runs", self._runs),
                Route(run, self._data(_run)),
                Route(f"{run}/counts", self._data(_counts)),
                Route(f"{run}/across", self._data(_across)),
                Route(f"{run}/stream", self._data(_stream)),
                Route(f"{run}/live", self._live),
                Route(f"{run}/items/{{number:int}}", self._item),
                Route(f"{run}/models/{{model}}", self._model),
            ]
        )

    def stop_waiting(self) -> None:
        """End the answers that wait for news."""
        self._closing = True

    def close(self) -> None:
        """End what waits for news, and stop following runs."""
        self.stop_waiting()
        self._followed.close()

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("file", "index.html")
        if name not in FILES:
            return _said(404, f"{name!r} is no file of the page.")
        return FileResponse(STATIC / name, media_type=FILES[name])

    async def _runs(self, request: Request) -> Response:
        try:
            return _json(await run_in_threadpool(run_list, self._folder))
        except FedtrackError as error:
            return _said(404, str(error))

    def _data(self, make: Callable[[FollowedRun, sqlite3.Connection, Request], Any]) -> Any:
        """Return the endpoint of a function that makes data of a run."""

        async def endpoint(request: Request) -> Response:
            def made() -> Response:
                followed = self._named(request)
                with followed.reading() as database:
                    return _json(make(followed, database, request))

            return await self._answered(made)

        return endpoint

    async def _answered(self, make: Callable[[], Response]) -> Response:
        try:
            return await run_in_threadpool(make)
        except FedtrackError as error:
            return _said(404, str(error))
        except sqlite3.Error as error:
            return _said(503, f"The run cannot be read right now: {error}; the page tries again.")

    async def _item(self, request: Request) -> Response:
        def made() -> Response:
            followed = self._named(request)
            with followed.reading() as database:
                found = read_item(followed.run, database, request.path_params["number"])
            place = "inline" if found.type.startswith(("image/", "text/")) else "attachment"
            named = {"Content-Disposition": f'{place}; filename="{found.name}"'}
            return Response(found.content, media_type=found.type, headers=named)

        return await self._answered(made)

    async def _model(self, request: Request) -> Response:
        def made() -> Response:
            folder = self._named(request).run.folder / "app_server"
            name = request.path_params["model"]
            if name not in {path.name for path in folder.glob("*.safetensors")}:
                return _said(404, f"The run has no model {name!r}.")
            return FileResponse(folder / name, media_type="application/octet-stream", filename=name)

        return await self._answered(made)

    async def _live(self, request: Request) -> Response:
        try:
            followed = await run_in_threadpool(self._named, request)
        except FedtrackError as error:
            return _said(404, str(error))
        return StreamingResponse(self._news(followed, request), media_type="text/event-stream")

    async def _news(self, followed: FollowedRun, request: Request) -> AsyncIterator[str]:
        """Yield the version of a run whenever it has changed."""
        before, quiet = "", 0
        while not self._closing and not await request.is_disconnected():
            now = await run_in_threadpool(followed.version)
            quiet += 1
            if now != before:
                yield f"data: {now}\n\n"
                before, quiet = now, 0
            elif quiet >= _QUIET_LOOKS:
                yield ": nothing new\n\n"
                quiet = 0
            await asyncio.sleep(_LOOK_SECONDS)

    def _named(self, request: Request) -> FollowedRun:
        """Return the run that an address names.

        Raises:
            FedtrackError: There is none.
        """
        name = request.path_params["name"]
        run = self._names.get(name)
        if run is None or not run.folder.is_dir():
            self._names = runs_below(self._folder)
            run = self._names.get(name)
        if run is None:
            raise FedtrackError(f"There is no run {name!r} below {self._folder}; it was deleted or never began.")
        return self._followed.of(name, run)


def _run(followed: FollowedRun, database: sqlite3.Connection, request: Request) -> Any:
    facts = _facts(followed, database)
    found: dict[str, Any] = followed.kept("run", database, lambda: run_data(database, facts, facts.state.events))
    return found | {"behind": followed.is_behind}


def _counts(followed: FollowedRun, database: sqlite3.Connection, request: Request) -> Any:
    return count_data(followed.run, database, running=_facts(followed, database).state.goes_on)


def _across(followed: FollowedRun, database: sqlite3.Connection, request: Request) -> Any:
    facts = _facts(followed, database)
    axis = request.query_params.get("axis", "round")
    metric = request.query_params.get("metric", facts.key)
    return across_data(database, facts, metric, axis if axis in ("round", "step", "time") else "round")


def _stream(followed: FollowedRun, database: sqlite3.Connection, request: Request) -> Any:
    metric = request.query_params.get("metric", "")
    return stream_data(database, metric, request.query_params.getlist("site"))


def _facts(followed: FollowedRun, database: sqlite3.Connection) -> RunFacts:
    found: RunFacts = followed.kept("facts", database, lambda: facts_of(followed.run, database))
    return found


def _json(found: Any) -> Response:
    return Response(msgspec.json.encode(found), media_type="application/json")


def _said(status: int, text: str) -> Response:
    return Response(msgspec.json.encode({"error": text}), status, media_type="application/json")
