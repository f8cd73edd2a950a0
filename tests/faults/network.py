"""A network between a worker and its server, which loses what is sent: nobody is told of it."""

from __future__ import annotations

import ctypes
import socket
import struct
from contextlib import suppress
from typing import Any, Self

from tests.schema.proxy import Proxy

ATTACH_FILTER, DETACH_FILTER = 26, 27
#: A program of the packet filter with one instruction: return 0, which keeps nothing of a packet.
NOTHING = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))


class Network(Proxy):
    """Swallowed, packets from clients vanish before TCP has seen them: none is acknowledged, no
    probe is answered and, unless only what there is is swallowed, no connection is made."""

    def __init__(self, database: dict[str, Any]) -> None:
        super().__init__(database)
        self._listener: socket.socket | None = None
        self._frozen: set[socket.socket] = set()
        self.through = {**database, "HOST": "127.0.0.1", "PORT": str(self.port)}

    def __enter__(self) -> Self:
        self.open()
        return self

    def lose(self) -> None:
        """Swallow what is sent on the connections that there are; new ones are served."""
        self.swallow(new=False)

    def swallow(self, *, new: bool = True) -> None:
        program = struct.pack("HL", 1, ctypes.addressof(NOTHING))
        for one in self._sockets(new=new):
            with suppress(OSError):  # it was closed just now
                one.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)

    def restore(self) -> None:
        for one in self._sockets(new=True):
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, DETACH_FILTER, 0)

    def freeze(self) -> None:
        """Take what is sent on the connections that there are, and pass nothing on; new ones are
        served."""
        self._frozen = set(self._clients)

    def _pass_on(
        self, source: socket.socket, selector: Any, peers: dict[socket.socket, socket.socket]
    ) -> None:
        if {source, peers[source]} & self._frozen:
            selector.unregister(source)
        else:
            super()._pass_on(source, selector, peers)

    def _serve(self, listener: socket.socket) -> None:
        self._listener = listener
        super()._serve(listener)

    def _sockets(self, *, new: bool) -> list[socket.socket]:
        listener = [self._listener] if new and self._listener else []
        return [*self._clients, *listener]
