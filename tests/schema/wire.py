"""A stand-in for PostgreSQL servers we cannot have here: it speaks the start of protocol 3.

It answers the refusal of TLS, then what the test gave it: the bytes of an error, or of a welcome by
a server of some version.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!I", len(payload) + 4) + payload


def refusal(sqlstate: str, text: str) -> bytes:
    fields = {b"S": "FATAL", b"V": "FATAL", b"C": sqlstate, b"M": text}
    return message(b"E", b"".join(k + v.encode() + b"\0" for k, v in fields.items()) + b"\0")


def welcome(version: str) -> bytes:
    parameters = {
        "server_version": version,
        "server_encoding": "UTF8",
        "client_encoding": "UTF8",
        "standard_conforming_strings": "on",
        "TimeZone": "UTC",
    }
    return b"".join(
        [
            message(b"R", struct.pack("!I", 0)),
            *(message(b"S", f"{k}\0{v}\0".encode()) for k, v in parameters.items()),
            message(b"K", struct.pack("!II", 1, 1)),
            message(b"Z", b"I"),
        ]
    )


ASK_PASSWORD = message(b"R", struct.pack("!I", 3))


@contextmanager
def fake_server(answer: bytes, *, asks_password: bool = False) -> Iterator[int]:
    """Listen on a free port of 127.0.0.1, which is yielded, and give everybody this answer."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with suppress(OSError):
                client, _ = listener.accept()
                with client:
                    _converse(client, answer, asks_password=asks_password)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        # accept() is woken by one last visitor.
        with suppress(OSError):
            socket.create_connection(listener.getsockname(), timeout=5).close()
        thread.join(10)
        listener.close()


def _converse(client: socket.socket, answer: bytes, *, asks_password: bool) -> None:
    client.settimeout(5)
    while True:
        head = _read(client, 8)
        if not head:
            return
        length, code = struct.unpack("!II", head)
        if code not in {SSL_REQUEST, GSS_REQUEST}:
            break
        client.sendall(b"N")
    _read(client, length - 8)
    if asks_password:
        client.sendall(ASK_PASSWORD)
        (length,) = struct.unpack("!xI", _read(client, 5))
        _read(client, length - 4)
    client.sendall(answer)
    # Until the visitor leaves: closing first would lose the answer on its way.
    while client.recv(4096):
        pass


def _read(client: socket.socket, number: int) -> bytes:
    data = b""
    while len(data) < number:
        more = client.recv(number - len(data))
        if not more:
            return b""
        data += more
    return data
