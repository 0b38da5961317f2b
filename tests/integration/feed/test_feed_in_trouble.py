# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients that misbehave, folders that take no socket, a fault of our own: bounded, said, and the run goes on."""

from __future__ import annotations

import logging
import os
import resource
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from tests.fakes.feeds import FACTS, make_encoded, make_event, make_video, next_of, show
from tests.fakes.waiting import wait_for

from vision_line.errors import RunError
from vision_line.feed.clients import MOST_CLIENTS
from vision_line.feed.feed_client import FeedClient
from vision_line.feed.feed_server import FeedServer
from vision_line.feed.protocol import SOCKET_NAME, packed
from vision_line.runtime.feed_snapshots import offer_snapshots
from vision_line.telemetry.snapshot import Snapshot


@contextmanager
def raw(directory: Path) -> Iterator[socket.socket]:
    """Connect without the client's manners."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(directory / SOCKET_NAME))
        connection.settimeout(20)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    found = b""
    while piece := connection.recv(1 << 16):
        found += piece
    return found


def want_forever(client: FeedClient) -> None:
    while True:
        client.want(results=["cam01"] * 100)


def serves(directory: Path) -> bool:
    with FeedClient(directory) as client:
        return bool(client.hello["run"] == FACTS.run)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        struct.pack(">II", 1 << 30, 0),
        struct.pack(">II", 60_000, 0) + b"[" * 60_000,
        packed({"kind": "want", "frames": {"a": "everything"}}),
        packed({"kind": "want", "snapshot": True}),
        packed({"kind": "shutdown"}),
        packed({"kind": "want"}) * 500,
    ],
    ids=["http", "too-long", "deep", "no-choice", "no-key", "no-kind", "flood"],
)
def test_who_is_not_understood_is_sent_away_with_a_reason(server: FeedServer, tmp_path: Path, sent: bytes) -> None:
    """The others are served on."""
    with FeedClient(tmp_path) as other, raw(tmp_path) as connection:
        other.want(journal=True)
        next_of(other, "wanted")
        connection.sendall(sent)
        said = read_all(connection)
        server.offers.committed(3)

        assert next_of(other, "journal").header["number"] == 3
    assert b'"kind":"bye","reason":"' in said
    wait_for(lambda: server.status.clients_sent_away == 1, "it is counted")


def test_megabytes_that_are_no_message_end_the_connection(server: FeedServer, tmp_path: Path) -> None:
    """Nothing of them is kept."""
    with raw(tmp_path) as connection, pytest.raises(OSError):  # noqa: PT011  reset or broken pipe, as it comes
        connection.sendall(b"\xff" * 20_000_000)

    assert serves(tmp_path)


def test_clients_that_vanish_leave_nothing_behind(server: FeedServer, tmp_path: Path) -> None:
    """A thousand of them, some in the middle of a message, some of which wanted all."""
    tap, video = server.offers.tap("cam01"), make_video()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(1000):
        with raw(tmp_path) as connection:
            if number % 3 == 0:
                connection.sendall(packed({"kind": "want", "frames": {"*": "all"}}))
            elif number % 3 == 1:
                connection.sendall(struct.pack(">II", 100, 0) + b"half of")
        if number % 50 == 0:
            show(tap, video, [1000, 1000], first=2 * number)
    wait_for(lambda: server.status.clients == 0, "all are gone")

    assert tap.wanted is None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert serves(tmp_path)


def test_one_client_too_many_is_sent_away(server: FeedServer, tmp_path: Path) -> None:
    """The first ones stay; a place that is free again is given."""
    with ExitStack() as stack:
        clients = [stack.enter_context(FeedClient(tmp_path)) for _ in range(MOST_CLIENTS)]
        late = stack.enter_context(FeedClient(tmp_path))
        assert late.receive(20) is None
        assert late.reason == f"more than {MOST_CLIENTS} clients at once"
        clients[0].want(journal=True)
        next_of(clients[0], "wanted")
    wait_for(lambda: server.status.clients == 0, "all are gone")

    assert serves(tmp_path)


def test_a_client_that_never_reads_costs_bounded_memory_and_holds_up_nobody(server: FeedServer, tmp_path: Path) -> None:
    """It loses frames; who hands frames over never waits for it."""
    taps, video = [server.offers.tap(f"cam{n:02}") for n in range(16)], make_video()
    with raw(tmp_path) as connection:
        connection.sendall(packed({"kind": "want", "frames": {"*": "all"}}))
        wait_for(lambda: taps[15].wanted is not None, "its wish is known")
        longest_s = 0.0
        for number in range(40):
            for tap in taps:
                began_s = time.thread_time()
                tap.saw(make_encoded(video, number, bytes(50_000), keyframe=number % 10 == 0))
                longest_s = max(longest_s, time.thread_time() - began_s)
            time.sleep(0.005)
        wait_for(lambda: server.status.frames_dropped > 400, "what it does not take is dropped")
        (client,) = server._clients._clients  # type: ignore[union-attr]

        assert client.queue.size < 4_100_000
    assert longest_s < 0.5


def test_no_file_descriptor_left_is_said_and_passes(
    server: FeedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread does not turn in circles meanwhile."""
    caplog.set_level(logging.WARNING)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with raw(tmp_path) as first:
        first.recv(1)
        connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        lowest_free = os.dup(first.fileno())
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            connecting.connect(str(tmp_path / SOCKET_NAME))
            wait_for(lambda: "a client cannot be admitted" in caplog.text, "it is said")
            used_s = time.process_time()
            time.sleep(0.5)
            assert time.process_time() - used_s < 0.3
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            connecting.settimeout(20)
            said = connecting.recv(1000)
            connecting.close()
    assert b"hello" in said


def test_a_fault_of_ours_ends_the_feed_and_is_shown(
    server: FeedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its traceback in the log; whoever hands something over does not notice."""
    tap, video = server.offers.tap("cam01"), make_video()
    with FeedClient(tmp_path) as client:
        client.want(snapshots=True, frames={"*": "all"})
        next_of(client, "wanted")
        server.offers.snapshot({"number": object()})
        assert list(client) == []
    wait_for(lambda: bool(server.status.problem), "the status says so")

    assert server.status.problem.startswith("the live feed failed: TypeError: ")
    assert "Traceback" in caplog.text
    wait_for(lambda: not (tmp_path / SOCKET_NAME).exists(), "the socket is removed")
    show(tap, video, [10, 10])
    server.offers.decide([make_event(1)])
    assert tap.wanted is None


async def test_a_fault_in_the_event_loop_ends_the_feed_and_not_the_run(server: FeedServer, tmp_path: Path) -> None:
    """Snapshots are made there; the clients hear why."""

    def take() -> Snapshot:
        raise ZeroDivisionError("a bug")

    with FeedClient(tmp_path) as client:
        client.want(snapshots=True)
        next_of(client, "wanted")
        await offer_snapshots(server, take)

        assert list(client) == []
    assert client.reason == server.status.problem == "the live feed failed: ZeroDivisionError: a bug"


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    """Only a socket: a file of somebody's is left alone, and said."""
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(str(tmp_path / SOCKET_NAME))
    stale.close()
    feed = FeedServer(FACTS)
    feed.open(tmp_path)
    assert serves(tmp_path)
    feed.close()

    (tmp_path / SOCKET_NAME).write_text("notes")
    other = FeedServer(FACTS)
    other.open(tmp_path)
    other.close()
    assert other.status.problem.endswith("a file that is no socket has its name")
    assert (tmp_path / SOCKET_NAME).read_text() == "notes"


def test_a_successors_socket_is_left_alone(tmp_path: Path) -> None:
    """The file that goes is the one that was made."""
    first, second = FeedServer(FACTS), FeedServer(FACTS)
    first.open(tmp_path)
    second.open(tmp_path)
    first.close()

    assert serves(tmp_path)
    second.close()


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_user_and_group_may_connect_and_nobody_else(tmp_path: Path, umask: int) -> None:
    """Whatever the process's umask, which is left as it is."""
    before = os.umask(umask)
    feed = FeedServer(FACTS)
    try:
        feed.open(tmp_path)
        found = stat.S_IMODE((tmp_path / SOCKET_NAME).lstat().st_mode)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
        feed.close()

    assert found == 0o660


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect(server: FeedServer, tmp_path: Path) -> None:
    """The kernel asks for the right to write."""
    for folder in (tmp_path, *list(tmp_path.parents)[:-2]):
        folder.chmod(0o755)
    program = (
        "import os, socket, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try: s.connect(sys.argv[1])\n"
        "except PermissionError: print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / SOCKET_NAME], text=True, capture_output=True, check=False
    )

    assert done.stdout == "refused\n", done.stderr


def test_a_path_of_any_length_can_be_served(tmp_path: Path) -> None:
    """The kernel takes 107 bytes."""
    directory = tmp_path / ("a" * 100) / ("b" * 100)
    directory.mkdir(parents=True)
    feed = FeedServer(FACTS)
    feed.open(directory)

    assert serves(directory)
    assert not feed.status.problem
    feed.close()
    assert not list(directory.iterdir())


def test_a_folder_that_takes_no_socket_is_said_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """As on file systems without sockets."""
    feed = FeedServer(FACTS)
    feed.open(Path("/proc/self"))
    feed.offers.committed(1)
    feed.close()

    assert feed.status.problem.startswith("no live feed in /proc/self: ")
    assert feed.status.problem in caplog.text


def test_nobody_there_is_one_sentence(tmp_path: Path) -> None:
    """For whoever starts a client too early."""
    with pytest.raises(RunError, match=r"no run has a live feed there: No such file"):
        FeedClient(tmp_path)


def test_a_client_refuses_another_protocol(tmp_path: Path) -> None:
    """Better than to be wrong."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET_NAME))
        listener.listen()
        hello = packed({"kind": "hello", "protocol": 2})
        child = subprocess.Popen([sys.executable, "-c", _CONNECT, tmp_path], stderr=subprocess.PIPE, text=True)
        connection, _ = listener.accept()
        connection.sendall(hello)
        _, said = child.communicate(timeout=60)
        connection.close()

    assert "expected version 1 of the feed's protocol, found 2" in said


def test_a_run_that_takes_nothing_is_said_to_hang(tmp_path: Path) -> None:
    """A wish that did not reach it must not be thought to hold."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / SOCKET_NAME))
        listener.listen()
        hello = packed({"kind": "hello", "protocol": 1, "wants": []})
        with ThreadPoolExecutor(1) as pool:
            client = pool.submit(FeedClient, tmp_path, 20.0)
            connection, _ = listener.accept()
            connection.sendall(hello)
            with client.result() as stuck, connection:
                stuck._socket.settimeout(0.2)
                with pytest.raises(RunError, match="the run hangs"):
                    want_forever(stuck)


_CONNECT = "import sys, pathlib, vision_line.feed.feed_client as f; f.FeedClient(pathlib.Path(sys.argv[1]), 30)"
