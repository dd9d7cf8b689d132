"""A link that breaks: stands between a client and a server, passes bytes on, and cuts where it is told to.

In: where the server is; after how many bytes from the client each connection is to be cut. Out: a port to connect to,
and an account of what was cut, so that a test can prove that its fault has bitten.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable


class Proxy:
    """Listens on a port of 127.0.0.1. Once `cuts` is used up, connections live as long as their ends do.

    At a cut what the server has answered and is not yet passed on is lost too: acknowledgements among it.
    """

    def __init__(self, connect: Callable[[], socket.socket], cuts: Iterable[int] = ()) -> None:
        self.connect = connect
        self.cuts = iter(cuts)
        self.cuts_made = 0
        self.bytes_lost = 0  # received from the client, and not passed on
        self.answers_lost = 0  # bytes received from the server, and not passed on
        self.connections = 0
        self.answers_held = threading.Event()  # while set, the server's answers are not passed on
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.links: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends everything."""
        self.listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Cuts the connections that there are now, and returns when they are gone; others may have come meanwhile."""
        present = set(self.links)
        for link in present:
            _end(link)
        while present & self.links:
            threading.Event().wait(0.002)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = self.connect()
            except OSError:
                client.close()
                continue
            client.settimeout(None)
            server.settimeout(None)
            self.links |= {client, server}
            limit = next(self.cuts, None)
            threading.Thread(target=self._forward, args=(client, server, limit), daemon=True).start()
            threading.Thread(target=self._answer, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while arrived := client.recv(65536):
                if limit is not None and passed + len(arrived) >= limit:
                    server.sendall(arrived[: limit - passed])
                    self.bytes_lost += passed + len(arrived) - limit
                    self.cuts_made += 1
                    break
                server.sendall(arrived)
                passed += len(arrived)
        self._finish(client, server)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        arrived = b""
        try:
            while arrived := server.recv(65536):
                while self.answers_held.is_set() and client in self.links:
                    threading.Event().wait(0.005)
                client.sendall(arrived)
        except OSError:
            self.answers_lost += len(arrived)
        self._finish(client, server)

    def _finish(self, client: socket.socket, server: socket.socket) -> None:
        self.links -= {client, server}
        _end(client)
        _end(server)


def _end(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
    link.close()
