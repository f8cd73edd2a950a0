"""A TCP proxy in front of a server, which a test opens, closes, holds up and cuts."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Self


class Proxy:
    """Listens on ``port`` of 127.0.0.1 while it is open, and forwards to the server.

    Closed, it refuses connections and has ended those there were. Held, it keeps them and passes
    nothing on, as a machine does that was stopped.
    """

    def __init__(self, database: dict[str, Any]) -> None:
        host, port = database["HOST"], int(database["PORT"])
        if host.startswith("/"):
            self._family, self._target = socket.AF_UNIX, str(Path(host) / f".s.PGSQL.{port}")
        else:
            self._family, self._target = socket.AF_INET, (host, port)  # type: ignore[assignment]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._stop = threading.Event()
        self._flows = threading.Event()
        self._flows.set()
        self._thread: threading.Thread | None = None
        #: How many connections have come so far.
        self.visits = 0
        #: Bytes that may still come from clients; with the last of them their connection ends,
        #: once. None is no limit.
        self.cut_after: int | None = None
        self._clients: set[socket.socket] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self._stop.clear()
        self._thread = threading.Thread(target=self._serve, args=(listener,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._flows.set()
        if self._thread is not None:
            self._thread.join(10)
            self._thread = None

    def hold(self) -> None:
        self._flows.clear()

    def release(self) -> None:
        self._flows.set()

    def _serve(self, listener: socket.socket) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while not self._stop.is_set():
                for key, _ in selector.select(timeout=0.05):
                    if not self._flows.wait(0.05):
                        continue
                    if key.fileobj is listener:
                        self._admit(listener, selector, peers)
                    elif key.fileobj in peers:
                        self._pass_on(key.fileobj, selector, peers)  # type: ignore[arg-type]
        listener.close()
        for one in peers:
            one.close()

    def _admit(
        self, listener: socket.socket, selector: Any, peers: dict[socket.socket, socket.socket]
    ) -> None:
        client, _ = listener.accept()
        self.visits += 1
        server = socket.socket(self._family)
        server.connect(self._target)
        self._clients.add(client)
        for one, other in ((client, server), (server, client)):
            peers[one] = other
            selector.register(one, selectors.EVENT_READ)

    def _pass_on(
        self, source: socket.socket, selector: Any, peers: dict[socket.socket, socket.socket]
    ) -> None:
        data = b""
        with suppress(OSError):
            data = source.recv(65536)
            if self.cut_after is not None and source in self._clients:
                self.cut_after -= len(data)
                if self.cut_after <= 0:
                    data, self.cut_after = b"", None
            if data:
                peers[source].sendall(data)
        if not data:
            for one in (source, peers[source]):
                peers.pop(one)
                selector.unregister(one)
                one.close()
