"""Reads: connections on a port of its own. Writes: the same bytes to a server, unless it is shut."""

import selectors
import socket
import socketserver
import ssl
import threading
from contextlib import suppress
from typing import Any, Self

from stack.config import HOST
from tests.support.stack import free_port

CHUNK_BYTES = 65536


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    target: int
    connections: set[socket.socket]
    tls: ssl.SSLContext | None
    damages: bool

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's own thread: who does not take the certificate keeps nobody waiting."""
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        with suppress(OSError), self.tls.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)


class _Forward(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection((HOST, self.server.target)) as other:
            ends = {self.request: other, other: self.request}
            self.server.connections |= ends.keys()
            with selectors.DefaultSelector() as selector:
                for end in ends:
                    selector.register(end, selectors.EVENT_READ)
                while all(self._copy(key.fileobj, ends[key.fileobj]) for key, _ in selector.select()):
                    pass

    def _copy(self, one: socket.socket, other: socket.socket) -> bool:
        data = one.recv(CHUNK_BYTES)
        if self.server.damages and other is self.request:
            socket.socket.sendall(other, data)  # past TLS: to the client it is a damaged record
        else:
            other.sendall(data)
        return bool(data)


class Gateway:
    """A way to a server of this machine that can be shut and opened: nobody answers meanwhile."""

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        """Take the server's address, such as http://127.0.0.1:8081/path; with a certificate it speaks TLS."""
        start, _, rest = target.rpartition(":")
        port, slash, path = rest.partition("/")
        self._target = int(port)
        self._port = free_port()
        self._tls = tls
        start = start.replace("http://", "https://") if tls else start
        self.url = f"{start}:{self._port}{slash}{path}"
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self.shut()

    def open(self) -> None:
        """Let connections through."""
        self._server = _Server((HOST, self._port), _Forward)
        self._server.target, self._server.connections, self._server.tls = self._target, set(), self._tls
        self._server.damages = False
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def damage(self, *, answers: bool) -> None:
        """Damage all answers, or leave them as they are again."""
        assert self._server is not None
        assert self._tls is not None
        self._server.damages = answers

    def shut(self) -> None:
        """Refuse connections, and break those that are open."""
        assert self._server is not None
        server, self._server = self._server, None
        server.shutdown()
        server.server_close()
        for connection in list(server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
