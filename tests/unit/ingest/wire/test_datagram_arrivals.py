# SPDX-License-Identifier: AGPL-3.0-or-later
"""When datagrams came: each when it was read, however long what was made of the one before it took."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from vision_line.ingest.camera_clock import Clocks
from vision_line.ingest.wire.client import DATAGRAMS_AT_ONCE, RtspClient
from vision_line.ingest.wire.datagrams import DatagramPair

DECODING_S = 0.045


class Camera:
    """The far end of a connection, which sends datagrams, and the client that reads them by a clock that is set."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._closed: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._ours = socket.create_connection(server.getsockname())
            self._theirs, _ = server.accept()
        self.pair = DatagramPair(self._ours)
        self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        playing: Any = SimpleNamespace(
            connection=SimpleNamespace(socket=self._ours),
            dialogue=SimpleNamespace(early=[]),
            track=SimpleNamespace(codec="mjpeg"),
            datagrams=self.pair,
            life_every_s=1e9,
        )
        clocks = Clocks(lambda: self.now_s, lambda: self.now_s)
        self.client = RtspClient(playing, threading.Event(), clocks, read_timeout_s=10.0)

    def send(self, count: int) -> None:
        """Send packets, all at once."""
        for number in range(count):
            self._sender.sendto(struct.pack(">BBHII", 0x80, 26, number, 0, 7) + b"x", self.pair.rtp.getsockname())

    def report(self) -> None:
        """Send a sender report (RFC 3550, 6.4.1)."""
        self._sender.sendto(struct.pack(">BBHIQIII", 0x80, 200, 6, 7, 1 << 40, 0, 1, 1), self.pair.rtcp.getsockname())

    def close(self) -> None:
        """Close every socket."""
        self.pair.close()
        for sock in (self._ours, self._theirs, self._sender):
            sock.close()


@pytest.fixture
def camera() -> Iterator[Camera]:
    """A camera that plays over UDP."""
    camera = Camera()
    yield camera
    camera.close()


def test_each_came_when_it_was_read(camera: Camera) -> None:
    """Decoding goes on between two of them: time that stands still invents a camera that is late, or silent."""
    camera.send(8)
    arrivals: list[float] = []
    for run in camera.client.runs():
        arrivals += [camera.client.arrived[0]] * len(run)
        camera.now_s += DECODING_S * len(run)
        if len(arrivals) == 8:
            break

    assert arrivals == pytest.approx([100.0 + DECODING_S * number for number in range(8)])


def test_a_socket_that_is_never_empty_leaves_reports_their_turn(camera: Camera) -> None:
    """The camera's clock is known from them."""
    camera.send(2)
    camera.report()
    taken = 0
    for run in camera.client.runs():
        taken += len(run)
        camera.send(len(run))  # as many again
        if camera.client.report is not None:
            break
        assert taken <= 4 * DATAGRAMS_AT_ONCE

    assert camera.client.report is not None
