"""A stand-in for W&B's HTTP API on a loopback port: enough of it for the real SDK to think it is online."""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

Json = dict[str, Any]


@dataclass
class ServedRun:
    """What the server knows of one run."""

    name: str
    project: str
    fields: Json = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    summary: Json = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def rows(self) -> list[Json]:
        """The history, oldest row first."""
        return [json.loads(line) for line in self.history]

    @property
    def config(self) -> Json:
        """The configuration, without W&B's own part."""
        config = json.loads(self.fields.get("config") or "{}")
        return {key: item["value"] for key, item in config.items() if key != "_wandb"}


class WandBServer:
    """Serves runs from memory until ``stop``.

    Attributes:
        runs: By run id.
        failing: While True, every request is answered with status 500.
        resetting: While True, every connection is reset instead, without an answer.
        refused: How many requests were answered so.
        operations: How often each GraphQL operation was asked for.
        authorizations: Every distinct Authorization header seen.
    """

    def __init__(self) -> None:
        self.runs: dict[str, ServedRun] = {}
        self.failing = False
        self.resetting = False
        self.refused = 0
        self.operations: Counter[str] = Counter()
        self.authorizations: set[str] = set()
        self.lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and free the port."""
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def graphql(self, query: str, variables: Json) -> Json:
        """Answer one GraphQL request."""
        found = re.search(r"(?:query|mutation)\s+(\w+)", query)
        operation = found.group(1) if found else ""
        self.operations[operation] += 1
        answer = getattr(self, f"_{operation}", None)
        if answer is None:
            return {"errors": [{"message": f"unknown operation {operation}"}]}
        return {"data": answer(variables)}

    def stream(self, run: ServedRun, body: Json) -> None:
        """Take one file_stream request."""
        for name, chunk in body.get("files", {}).items():
            if name == "wandb-history.jsonl":
                run.history[chunk["offset"] :] = chunk["content"]
            elif name == "wandb-summary.json":
                run.summary = json.loads(chunk["content"][-1])
        if body.get("complete"):
            run.exit_code = body.get("exitcode")

    def _Viewer(self, _: Json) -> Json:  # noqa: N802 - named as the operation
        teams = {"edges": [{"node": {"name": "team"}}]}
        viewer = {"id": "v", "entity": "team", "username": "u", "email": "u@localhost", "flags": "{}"}
        return {"viewer": viewer | {"teams": teams}}

    def _ServerFeaturesQuery(self, _: Json) -> Json:  # noqa: N802
        return {"serverInfo": {"features": []}}

    def _RunResumeStatus(self, variables: Json) -> Json:  # noqa: N802
        run = self.runs.get(variables["name"])
        entity = {"id": "e", "name": "team"}
        model = {"id": "p", "name": variables["project"], "entity": entity}
        return {"model": model | {"bucket": run and _resume_status(run)}}

    def _UpsertBucket(self, variables: Json) -> Json:  # noqa: N802
        name = variables["name"]
        inserted = name not in self.runs
        run = self.runs.setdefault(name, ServedRun(name, variables["project"]))
        run.fields |= {key: value for key, value in variables.items() if value is not None}
        project = {"id": "p", "name": run.project, "entity": {"id": "e", "name": "team"}}
        bucket = {
            "id": name,
            "name": name,
            "displayName": run.fields.get("displayName"),
            "description": None,
            "config": run.fields.get("config"),
            "sweepName": None,
            "project": project,
            "historyLineCount": len(run.history),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _CreateRunFiles(self, variables: Json) -> Json:  # noqa: N802
        run = variables["run"]
        files = [{"name": n, "uploadUrl": f"{self.url}/upload/{run}/{n}"} for n in variables["files"]]
        return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}


def _resume_status(run: ServedRun) -> Json:
    return {
        "id": run.name,
        "name": run.name,
        "summaryMetrics": json.dumps(run.summary),
        "displayName": run.fields.get("displayName"),
        "logLineCount": 0,
        "historyLineCount": len(run.history),
        "eventsLineCount": 0,
        "historyTail": json.dumps(run.history[-1:]),
        "eventsTail": "[]",
        "config": run.fields.get("config") or "{}",
        "tags": run.fields.get("tags") or [],
        "notes": run.fields.get("notes"),
        "wandbConfig": '{"t": {}}',
    }


def _handler(server: WandBServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self._body()
            server.authorizations.add(self.headers.get("Authorization", ""))
            parts = self.path.strip("/").split("/")
            with server.lock:
                if self._refused():
                    return
                if parts == ["graphql"]:
                    request = json.loads(body)
                    self._answer(200, server.graphql(request["query"], request.get("variables") or {}))
                elif parts[-1] == "file_stream":
                    server.stream(server.runs[parts[-2]], json.loads(body))
                    self._answer(200, {"limits": {}})
                else:
                    self._answer(404, {"error": self.path})

        def do_PUT(self) -> None:
            body = self._body()
            _, run, name = unquote(self.path).strip("/").split("/", 2)
            with server.lock:
                if self._refused():
                    return
                server.runs[run].files[name] = body
            self._answer(200, {})

        def _refused(self) -> bool:
            server.refused += server.failing or server.resetting
            if server.resetting:
                # Closed at once and with what was sent unread: the other side sees a reset.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
            elif server.failing:
                self._answer(500, {"error": "out of order"})
            return server.failing or server.resetting

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(self, status: int, body: Json) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

    return Handler
