# SPDX-License-Identifier: AGPL-3.0-or-later
"""The relay of the fault bench: later, unsteadily or not at all, but everything and in order."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from benchmarks.faults.relay import Relay

DELAY_S = 0.2
TIMEOUT_S = 20.0
#: Nothing that takes no time is as late as this; and what is stalled is seen to be after it.
SHORT_S = 0.1


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it gets, until the other side ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def relay(echo: tuple[str, int]) -> Iterator[Relay]:
    """A relay before the echo."""
    relay = Relay(echo)
    yield relay
    relay.close()


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), TIMEOUT_S)


def receive(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


def test_a_delay_holds_for_each_direction(relay: Relay) -> None:
    """There and back takes it twice."""
    relay.delay_s = DELAY_S
    with connect(relay) as connection:
        begun_s = time.monotonic()
        connection.sendall(b"word")
        assert receive(connection, 4) == b"word"
        assert time.monotonic() - begun_s >= 2 * DELAY_S


def test_jitter_keeps_the_order(relay: Relay) -> None:
    """A megabyte in pieces, each with a time of its own."""
    relay.jitter_s = 0.02
    content = bytes(range(256)) * 4096
    with connect(relay) as connection:
        sender = threading.Thread(target=connection.sendall, args=(content,))
        sender.start()
        assert receive(connection, len(content)) == content
        sender.join()


def test_a_stall_holds_everything_back_and_loses_nothing(relay: Relay) -> None:
    """Nothing comes until it ends, then all does."""
    with connect(relay) as connection:
        connection.sendall(b"one")
        assert receive(connection, 3) == b"one"
        relay.stall(stalled=True)
        time.sleep(SHORT_S)  # the stall is asked of another thread
        connection.sendall(b"two")
        connection.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            connection.recv(3)
        relay.stall(stalled=False)
        connection.settimeout(TIMEOUT_S)
        assert receive(connection, 3) == b"two"


def test_an_end_is_passed_on(relay: Relay) -> None:
    """What was sent before it arrives before it."""
    with connect(relay) as connection:
        connection.sendall(b"last")
        assert receive(connection, 4) == b"last"
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_where_nobody_listens_the_caller_learns_of_it(relay: Relay) -> None:
    """And the relay goes on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = listener.getsockname()
    other = Relay(nobody)
    with connect(other) as connection:
        assert connection.recv(1) == b""
    other.close()
    test_an_end_is_passed_on(relay)
