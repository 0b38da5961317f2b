# SPDX-License-Identifier: AGPL-3.0-or-later
"""A connection's reads and sends end, whichever came before, and one that nothing comes over is no lost one."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from vision_line.ingest.wire.connection import Connection

SHORT_S = 0.01
#: Longer than any test: a call that takes it does not end.
LONG_S = 600.0


@pytest.fixture
def ends() -> Iterator[tuple[Connection, socket.socket]]:
    """Give a connection and the camera's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = Connection(socket.create_connection(server.getsockname(), timeout=LONG_S))
        camera, _ = server.accept()
    with camera:
        yield connection, camera
    connection.close()


def test_a_read_takes_what_is_there(ends: tuple[Connection, socket.socket]) -> None:
    """What came is in the framer, and nothing is waited for."""
    connection, camera = ends
    camera.sendall(b"$\x00\x00\x02ab")
    assert connection.receive(LONG_S) == 6
    assert [bytes(view) for view in connection.framer.take_run(0)] == [b"ab"]


def test_a_read_takes_any_limit(ends: tuple[Connection, socket.socket]) -> None:
    """The kernel refuses microseconds that are a second or more."""
    connection, camera = ends
    for within_s in (0.9999999, 1.0, 2.5):
        camera.sendall(b"$")
        assert connection.receive(within_s) == 1


@pytest.mark.parametrize("within_s", [SHORT_S, 0.0, -1.0])
def test_a_read_ends_where_nothing_comes(ends: tuple[Connection, socket.socket], within_s: float) -> None:
    """The connection is good afterwards; also a time that is over already is none for ever."""
    connection, camera = ends
    assert connection.receive(within_s) == 0
    camera.sendall(b"$")
    assert connection.receive(LONG_S) == 1


def test_a_read_ends_after_a_request_that_may_take_longer(ends: tuple[Connection, socket.socket]) -> None:
    """A request sets its own time, and the next read its own again, whether it is that of the read before or not."""
    connection, camera = ends
    for within_s in (SHORT_S, SHORT_S, 2 * SHORT_S):
        connection.send(b"OPTIONS", LONG_S)
        assert camera.recv(100) == b"OPTIONS"
        assert connection.receive(within_s) == 0


def test_a_request_ends_where_the_camera_does_not_read(ends: tuple[Connection, socket.socket]) -> None:
    """Whatever was read before; a part that the kernel took does not begin its time anew."""
    connection, _ = ends
    assert connection.receive(SHORT_S) == 0
    with pytest.raises(TimeoutError):
        connection.send(bytes(64 << 20), SHORT_S)


def test_a_closed_connection_is_no_silent_one(ends: tuple[Connection, socket.socket]) -> None:
    """The camera has hung up."""
    connection, camera = ends
    camera.close()
    with pytest.raises(ConnectionAbortedError):
        connection.receive(LONG_S)


def test_a_read_of_a_plain_connection_is_one_system_call(ends: tuple[Connection, socket.socket]) -> None:
    """Python polls before each call on a socket that has a timeout of its own."""
    connection, _ = ends
    connection.receive(SHORT_S)
    assert connection.socket.gettimeout() is None
