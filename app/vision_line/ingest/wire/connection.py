# SPDX-License-Identifier: AGPL-3.0-or-later
"""One TCP connection to a camera, encrypted or not, read in steps that never block for long."""

from __future__ import annotations

import contextlib
import socket

from vision_line.ingest.wire.framing import Framer

SEND_LIMIT_S = 5.0


class Connection:
    """A connected socket with its framer. Used by one thread."""

    def __init__(self, sock: socket.socket) -> None:
        """Own `sock`."""
        self.framer = Framer()
        self._sock = sock
        with contextlib.suppress(OSError):  # keeps requests from waiting for each other
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def socket(self) -> socket.socket:
        """The socket: to wait for it beside others, and to ask it for addresses."""
        return self._sock

    def receive(self, within_s: float) -> bool:
        """Read what is there into the framer; False if nothing came in time.

        Raises:
            ConnectionAbortedError: the camera closed the connection.
            OSError: it is lost.
        """
        self._sock.settimeout(max(0.001, within_s))
        try:
            n = self._sock.recv_into(self.framer.space())
        except TimeoutError:
            return False
        if not n:
            raise ConnectionAbortedError("closed by the camera")
        self.framer.filled(n)
        return True

    def send(self, data: bytes, within_s: float = SEND_LIMIT_S) -> None:
        """Send all of `data`.

        Raises:
            OSError: the connection is lost, or the camera does not read.
        """
        self._sock.settimeout(within_s)
        self._sock.sendall(data)

    def close(self) -> None:
        """Close it; idempotent."""
        self._sock.close()
