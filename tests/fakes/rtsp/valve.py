# SPDX-License-Identifier: AGPL-3.0-or-later
"""A TCP proxy that can hold back what a server sends: for a while, or by a delay from then on."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import Self


class Valve:
    """Listens on `port`; `shut` and `open` stop and free the flow, `delay_s` holds each piece of open connections back.

    A new connection begins without delay.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = threading.Event()
        self._open.set()
        self._delays: list[list[float]] = []
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="valve")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.set()
        self._sockets.append(self._listener)
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def shut(self) -> None:
        """Let nothing through."""
        self._open.clear()

    def open(self) -> None:
        """Let through what has gathered, and all that comes."""
        self._open.set()

    def delay(self, seconds: float) -> None:
        """Hold what comes through the connections of now back for so long."""
        for delay in self._delays:
            delay[0] = seconds

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._sockets += [client, server]
                self._delays.append(delay := [0.0])
                pieces: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
                self._start(self._forward, client, server)
                self._start(self._gather, server, pieces)
                self._start(self._let_through, pieces, client, delay)

    def _start(self, work: object, *arguments: object) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=arguments, name="valve")
        self._threads.append(thread)
        thread.start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _gather(self, server: socket.socket, pieces: queue.SimpleQueue[tuple[float, bytes]]) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                pieces.put((time.monotonic(), data))
        pieces.put((0.0, b""))

    def _let_through(
        self, pieces: queue.SimpleQueue[tuple[float, bytes]], client: socket.socket, delay: list[float]
    ) -> None:
        with contextlib.suppress(OSError):
            while (piece := pieces.get())[1]:
                self._open.wait()
                time.sleep(max(0.0, piece[0] + delay[0] - time.monotonic()))
                client.sendall(piece[1])
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
