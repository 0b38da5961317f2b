# SPDX-License-Identifier: AGPL-3.0-or-later
"""The two UDP ports of one camera: RTP on an even one, RTCP on the next; only the camera's own datagrams are taken."""

from __future__ import annotations

import contextlib
import socket

BUFFER_BYTES = 4 << 20  # a keyframe arrives as one burst; the kernel caps this at net.core.rmem_max
_TRIES = 50
_PUNCH = bytes([0x80, 0, 0, 0, *bytes(8)])  # an empty RTP packet: opens the way through a firewall


class DatagramPair:
    """Two bound sockets on the side of the host that faces the camera."""

    def __init__(self, control: socket.socket) -> None:
        """Bind beside the connection `control`.

        Raises:
            OSError: no two neighbouring ports are free.
        """
        self._host = control.getpeername()[0]
        self.rtp, self.rtcp = _bind_pair(control.family, control.getsockname()[0])
        self._peer_ports: tuple[int, int] | None = None
        self._space = bytearray(1 << 16)

    @property
    def ports(self) -> tuple[int, int]:
        """Our ports."""
        return self.rtp.getsockname()[1], self.rtcp.getsockname()[1]

    def face(self, peer_ports: tuple[int, int] | None) -> None:
        """Note the camera's ports, and open the way from there."""
        self._peer_ports = peer_ports
        if peer_ports is not None:
            with contextlib.suppress(OSError):
                self.rtp.sendto(_PUNCH, (self._host, peer_ports[0]))

    def receive(self, sock: socket.socket) -> bytes | None:
        """Return the next datagram of the camera on one of the two sockets; None if there is none."""
        while True:
            try:
                n, peer = sock.recvfrom_into(self._space)
            except BlockingIOError:
                return None
            except ConnectionError:  # an ICMP answer to what we sent
                continue
            if peer[0] == self._host:
                return bytes(memoryview(self._space)[:n])

    def report(self, data: bytes) -> None:
        """Send RTCP to the camera, if it said where to; a lost report is no harm."""
        if self._peer_ports is not None:
            with contextlib.suppress(OSError):
                self.rtcp.sendto(data, (self._host, self._peer_ports[1]))

    def close(self) -> None:
        """Close both; idempotent."""
        self.rtp.close()
        self.rtcp.close()


def _bind_pair(family: int, host: str) -> tuple[socket.socket, socket.socket]:
    for _ in range(_TRIES):
        first = _bound(family, host, 0)
        port = first.getsockname()[1]
        try:
            if port % 2 == 0:
                return first, _bound(family, host, port + 1)
        except OSError:
            pass  # the neighbour is taken: another pair
        first.close()
    raise OSError(f"no pair of free UDP ports on {host}")


def _bound(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
