# SPDX-License-Identifier: AGPL-3.0-or-later
"""Pages over real sockets: what clients get, and what bad clients cannot do."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus

import pytest
from tests.fakes.ports import free_port

from vision_line.config.listen import ListenAddress
from vision_line.errors import ExitCode, RunError
from vision_line.telemetry import http_endpoint
from vision_line.telemetry.http_endpoint import MOST_CLIENTS, HttpEndpoint, Page, Reply

Serve = Callable[[Mapping[str, Page]], ListenAddress]


def hello() -> Reply:
    return Reply(HTTPStatus.OK, b"hello\n")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Give a function that serves pages on a free port."""
    endpoints: list[HttpEndpoint] = []

    def start(pages: Mapping[str, Page], host: str = "127.0.0.1") -> ListenAddress:
        address = ListenAddress(host, free_port())
        endpoints.append(HttpEndpoint(address))
        endpoints[-1].serve(pages)
        return address

    yield start
    for endpoint in endpoints:
        endpoint.close()
        endpoint.close()


def ask(address: ListenAddress, path: str, method: str = "GET") -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*address, timeout=60)
    connection.request(method, path)
    return connection.getresponse()


def ask_until_served(address: ListenAddress, path: str) -> http.client.HTTPResponse:
    """Ask again while turned away: a place is free only when its thread has ended, just after its client is left."""
    deadline_s = time.monotonic() + 60
    while True:
        try:
            return ask(address, path)
        except ConnectionError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_page_is_served(serve: Callable[..., ListenAddress], host: str) -> None:
    """Over IPv4 and IPv6, with or without a query; HEAD is GET without the body."""
    address = serve({"/x": hello}, host)
    reply, head = ask(address, "/x?a=1"), ask(address, "/x", "HEAD")

    assert (reply.status, reply.read()) == (200, b"hello\n")
    assert (head.status, head.getheader("Content-Length"), head.read()) == (200, "6", b"")
    assert reply.getheader("Server") == "vision-line"
    assert reply.getheader("Cache-Control") == "no-store"


def test_other_paths_and_methods_are_refused(serve: Serve) -> None:
    """A client is told what there is."""
    address = serve({"/x": hello, "/y": hello})
    missing = ask(address, "/../etc/passwd")

    assert (missing.status, missing.read()) == (404, b"expected /x, /y\n")
    assert ask(address, "/x", "POST").status == 501


def test_a_busy_port_is_found_at_the_start() -> None:
    """The address and the reason, and the exit code of a run that cannot go on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            RunError, match=f"^metrics.listen: cannot listen on 127.0.0.1:{port}: Address already"
        ) as caught:
            HttpEndpoint(ListenAddress("127.0.0.1", port))

    assert caught.value.exit_code is ExitCode.FAILED


def test_an_address_of_no_interface_is_found_at_the_start() -> None:
    """As a busy port is."""
    with pytest.raises(RunError, match=r"cannot listen on 192\.0\.2\.1:9108: Cannot assign"):
        HttpEndpoint(ListenAddress("192.0.2.1", 9108))


def test_an_endpoint_that_never_served_gives_its_port_back() -> None:
    """A run that fails before its cameras start leaves nothing behind."""
    address = ListenAddress("127.0.0.1", free_port())
    HttpEndpoint(address).close()
    HttpEndpoint(address).close()


def test_clients_that_say_nothing_hold_up_nobody(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may take all places but one; one client more is turned away, and after a while they are left."""
    monkeypatch.setattr(http_endpoint, "CLIENT_TIMEOUT_S", 1.0)
    address = serve({"/x": hello})
    silent = [socket.create_connection(address) for _ in range(MOST_CLIENTS - 1)]
    assert ask(address, "/x").status == 200
    silent += [socket.create_connection(address) for _ in range(2)]
    left = [connection.recv(1) for connection in silent]
    for connection in silent:
        connection.close()

    assert set(left) == {b""}
    assert ask_until_served(address, "/x").status == 200


def test_a_client_that_drips_bytes_is_left_as_well(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for all it sends, not for each byte."""
    monkeypatch.setattr(http_endpoint, "CLIENT_TIMEOUT_S", 0.5)
    address = serve({"/x": hello})
    with socket.create_connection(address) as dripping:
        dripping.settimeout(0.1)
        for _ in range(100):
            try:
                dripping.sendall(b"G")
                if dripping.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("still served after 10 s")

    assert ask(address, "/x").status == 200


def test_who_is_turned_away_does_not_fill_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged at once, then at most once a minute, with the number."""
    address = serve({"/x": hello})
    silent = [socket.create_connection(address) for _ in range(MOST_CLIENTS)]
    for _ in range(20):
        with socket.create_connection(address) as connection:
            assert connection.recv(1) == b""
    for connection in silent:
        connection.close()

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        f"metrics: more than {MOST_CLIENTS} clients at once, turned away: 1"
    ]


def test_the_number_turned_away_comes_later(caplog: pytest.LogCaptureFixture) -> None:
    """A minute after the first line comes the next one, with everybody since."""
    refusals = http_endpoint._Refusals()
    for now_s in (0.0, 1.0, 59.0, 60.0, 200.0):
        refusals.add("too many")
        refusals.warn(now_s)
    refusals.warn(400.0)

    assert [record.getMessage().rsplit(" ", 1)[1] for record in caplog.records] == ["1", "3", "1"]


def test_a_target_that_is_none_is_the_clients_fault(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered, and no traceback is logged."""
    with socket.create_connection(serve({"/x": hello})) as connection:
        connection.sendall(b"GET http://[/x HTTP/1.0\r\n\r\n")
        reply = connection.makefile("rb").read()

    assert reply.splitlines()[0] == b"HTTP/1.0 400 Bad Request"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_without_a_thread_a_client_is_turned_away_and_its_place_is_free(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As at the system's limit of threads; afterwards as many clients as before are served."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    address = serve({"/x": hello})
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", refuse)
        for _ in range(MOST_CLIENTS + 1):
            with socket.create_connection(address) as connection:
                assert connection.recv(1) == b""

    assert ask(address, "/x").status == 200
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "metrics: can't start new thread, turned away: 1"
    ]


def test_a_fault_of_a_page_is_seen_and_ends_nothing(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """It is in the log with its traceback; the next page is served."""

    def broken() -> Reply:
        raise ValueError("a fault")

    address = serve({"/broken": broken, "/x": hello})
    with caplog.at_level(logging.ERROR), pytest.raises(http.client.RemoteDisconnected):
        ask(address, "/broken")

    assert ask(address, "/x").status == 200
    assert [str(record.exc_info and record.exc_info[1]) for record in caplog.records] == ["a fault"]


def test_a_client_that_goes_away_is_no_fault(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A scrape that was given up leaves no error in the log."""
    asked, gone = threading.Event(), threading.Event()

    def slow() -> Reply:
        asked.set()
        gone.wait(60)
        return Reply(HTTPStatus.OK, b"x" * 10_000_000)

    address = serve({"/slow": slow, "/x": hello})
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        assert asked.wait(60)
    gone.set()

    assert ask(address, "/x").status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
