"""Real local servers in W&B's place: one takes runs, one refuses every key, one never answers."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that was killed is no news."""


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = Quiet(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def refusing() -> Iterator[str]:
    """401 to everything: the key is wrong."""

    class Handler(_Handler):
        def do_POST(self) -> None:
            self._body()
            self._reply({}, 401)

    with served(Handler) as address:
        yield address


@contextmanager
def silent() -> Iterator[str]:
    """Accepts connections and never answers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=50)
    held: list[socket.socket] = []

    def hold() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:  # closed
                return

    threading.Thread(target=hold, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        for each in (listener, *held):
            each.close()


@contextmanager
def unreachable() -> Iterator[str]:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


class Received:
    """What a server was sent: lines of history by their place, what created the run, the files."""

    def __init__(self) -> None:
        self.lines: dict[int, dict[str, Any]] = {}
        self.twice: list[int] = []
        self.created: list[dict[str, Any]] = []
        self.files: set[str] = set()
        self.artifacts: list[str] = []
        self.complete = 0

    @property
    def history(self) -> list[dict[str, Any]]:
        """In order, without what W&B adds."""
        rows = [self.lines[place] for place in sorted(self.lines)]
        return [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]


@contextmanager
def taking() -> Iterator[tuple[str, Received]]:
    """As much of W&B as an upload asks."""
    received = Received()

    class Handler(_Handler):
        def do_POST(self) -> None:
            body = self._body()
            if self.path.endswith("/file_stream"):
                self._reply(_streamed(received, json.loads(body)))
            elif self.path == "/graphql":
                asked = json.loads(body)
                here = f"http://{self.headers['Host']}"
                self._reply({"data": _answer(received, asked["query"], asked.get("variables") or {}, here)})
            else:
                self._reply({})

        def do_PUT(self) -> None:
            self._body()
            received.files.add(self.path.removeprefix("/upload/"))
            self._reply({})

    with served(Handler) as address:
        yield address, received


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self._reply({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, content: Any, code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _streamed(received: Received, content: dict[str, Any]) -> dict[str, Any]:
    part = content.get("files", {}).get("wandb-history.jsonl")
    for place, line in enumerate(part["content"] if part else [], start=part["offset"] if part else 0):
        if place in received.lines:
            received.twice.append(place)
        received.lines[place] = json.loads(line)
    received.complete += bool(content.get("complete"))
    return {"exitcode": None, "limits": {}}


def _answer(received: Received, query: str, given: dict[str, Any], here: str) -> dict[str, Any]:
    place = {"id": "p", "name": "pentarch", "entity": {"id": "e", "name": "team"}}
    if "RunResumeStatus" in query:
        return {"model": {**place, "bucket": _resumed(received) if received.created else None}}
    if "upsertBucket" in query:
        received.created.append(given)
        bucket = {
            "id": "r",
            "name": given.get("name"),
            "displayName": "run",
            "config": "{}",
            "project": place,
            "historyLineCount": len(received.lines),
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": len(received.created) == 1}}
    if "createRunFiles" in query:
        files = [{"name": name, "uploadUrl": f"{here}/upload/{name}"} for name in given["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
    if "createArtifact" in query:
        received.artifacts.append(given["input"]["artifactTypeName"])
        kept = {"id": "a", "state": "COMMITTED", "artifactSequence": {"latestArtifact": {"id": "a"}}}
        return {"createArtifact": {"artifact": kept}}
    if "serverInfo" in query:
        return {"serverInfo": {"features": [], "cliVersionInfo": {}}}
    return {}


def _resumed(received: Received) -> dict[str, Any]:
    last = received.lines[max(received.lines)] if received.lines else {}
    return {
        "id": "r",
        "name": "r",
        "displayName": "run",
        "summaryMetrics": json.dumps(last),
        "historyTail": json.dumps([json.dumps(last)] if last else []),
        "eventsTail": "[]",
        "historyLineCount": len(received.lines),
        "eventsLineCount": 0,
        "logLineCount": 0,
        "config": "{}",
        "tags": [],
        "wandbConfig": "{}",
    }
