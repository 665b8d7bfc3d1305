"""A minimal wandb server on the loopback interface, which can misbehave."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "0123456789abcdef" * 2 + "01234567"


class Server(ThreadingHTTPServer):
    """Keeps what it receives: `runs` by id, their `summary`, their `history` by its offset.

    `received` holds the bodies of all requests, as they came.

    `behaviour` is "good", "hangs" (takes requests and never answers), "fails" (answers 500) or
    "dies": good until a run that began sends the first of its metrics, and "dead" from then on.
    """

    daemon_threads = True

    def __init__(self, behaviour: str = "good") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = behaviour
        self.runs: dict[str, dict] = {}
        self.history: dict[str, dict[int, dict]] = {}
        self.summary: dict[str, dict] = {}
        self.received: list[bytes] = []
        self.ended = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        host, port = self.server_address
        return {"WANDB_BASE_URL": f"http://{host}:{port}", "WANDB_API_KEY": KEY}

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: the tests kill clients on purpose."""

    def rows(self, run: str) -> list[dict]:
        """Return a run's history in its order, without what wandb adds to a row."""
        lines = sorted(self.history.get(run, {}).items())
        assert [offset for offset, _ in lines] == list(range(len(lines)))
        return [plain(row) for _, row in lines]

    def answer(self, operation: str, variables: dict) -> dict:
        """Return the data of a GraphQL operation."""
        run = variables.get("name")
        project = {"id": "p", "name": "crate", "entity": {"id": "e", "name": "someone"}}
        if operation == "RunResumeStatus":
            return {"model": project | {"bucket": self._bucket(run) if run in self.runs else None}}
        if operation == "UpsertBucket":
            inserted = run not in self.runs
            given = {key: value for key, value in variables.items() if value is not None}
            self.runs[run] = self.runs.get(run, {}) | given
            bucket = self._bucket(run) | {"project": project}
            return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}
        if operation == "CreateRunFiles":
            files = [
                {"name": name, "uploadUrl": f"{self.environment['WANDB_BASE_URL']}/upload/{name}"}
                for name in variables["files"]
            ]
            return {"createRunFiles": {"runID": run, "uploadHeaders": [], "files": files}}
        return {}

    def _bucket(self, run: str) -> dict:
        history = self.history.get(run, {})
        last = [json.dumps(history[max(history)])] if history else []
        return {
            "id": run,
            "name": run,
            "displayName": run,
            "description": None,
            "config": self.runs[run].get("config", "{}"),
            "sweepName": None,
            "summaryMetrics": "{}",
            "historyLineCount": len(history),
            "historyTail": json.dumps(last),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "tags": [],
            "wandbConfig": "{}",
        }

    def take(self, run: str, files: dict) -> None:
        """Keep the history among the pieces of files that a run sends."""
        piece = files.get("wandb-history.jsonl", {"offset": 0, "content": []})
        lines = self.history.setdefault(run, {})
        for number, line in enumerate(piece["content"], piece["offset"]):
            lines[number] = json.loads(line)
        for line in files.get("wandb-summary.json", {"content": []})["content"]:
            self.summary[run] = json.loads(line)
        if self.behaviour == "dies":
            self.behaviour = "dead"
            threading.Thread(target=self.stop).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append(body)
        if self.server.behaviour == "hangs":
            self.server.ended.wait()
            self.server.behaviour = "dead"
        if self.server.behaviour == "dead":
            self.close_connection = True
            return None
        if self.server.behaviour == "fails":
            return self._send(500, {"error": "out of order"})
        if self.path == "/graphql":
            query = json.loads(body)
            data = self.server.answer(query["operationName"], query["variables"])
            return self._send(200, {"data": data})
        if self.path.endswith("/file_stream"):
            self.server.take(self.path.split("/")[-2], json.loads(body).get("files") or {})
        return self._send(200, {})

    do_GET = do_PUT = do_POST

    def _send(self, code: int, answer: dict) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


def plain(row: dict) -> dict:
    """Return a row of wandb's history without the keys that wandb adds."""
    return {key: value for key, value in row.items() if not key.startswith("_")}
