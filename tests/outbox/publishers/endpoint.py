"""An HTTP endpoint that keeps what it gets, and answers what the payload of an event asks for."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Request(NamedTuple):
    """One request as it came; the names of the headers are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int


class Endpoint:
    """Listens while the block runs. A payload may hold ``answer`` (a status), ``headers`` and
    ``body`` of the answer, and ``wait``: then it answers when ``go_on`` is set."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[Request] = []
        self.go_on = threading.Event()
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(_Handler):
            owner = endpoint

        self._server = _Server((host, port), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def took(self) -> list[Request]:
        """The requests that were answered with success."""
        return [request for request in self.requests if 200 <= request.status < 300]

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        payload: dict[str, Any] = json.loads(body).get("data") or {}
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if payload.get("wait"):
                self.go_on.wait(20)
        finally:
            with self._lock:
                self.at_once -= 1
        status = payload.get("answer", 204)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.requests.append(Request(handler.path, headers, body, status))
        text = str(payload.get("body", "")).encode()
        handler.send_response(status)
        for name, value in payload.get("headers", {}).items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    #: A short queue drops connections, which come again after a second.
    request_queue_size = 100


class _Handler(BaseHTTPRequestHandler):
    owner: Endpoint
    protocol_version = "HTTP/1.1"
    timeout = 20

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            self.owner.answer(self, body)
        except OSError:
            self.close_connection = True  # the other side has gone

    def log_message(self, *_: object) -> None:
        """Say nothing."""
