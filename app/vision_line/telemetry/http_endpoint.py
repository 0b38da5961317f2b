# SPDX-License-Identifier: AGPL-3.0-or-later
"""A few pages over HTTP, read only, in threads of their own: nothing that inspects waits for a client."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import TCPServer, ThreadingMixIn
from typing import cast
from urllib.parse import urlsplit

from vision_line.config.listen import ListenAddress
from vision_line.errors import RunError

logger = logging.getLogger(__name__)

#: What a client gets in all, in seconds: to ask, and to take the answer. One that drips bytes gets no more.
CLIENT_TIMEOUT_S = 5.0
#: Clients that are served at the same time; one more is turned away.
MOST_CLIENTS = 8
#: How often the log says that clients were turned away, in seconds.
WARN_EVERY_S = 60.0
#: How often the server looks whether it is to end, in seconds.
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Reply:
    """What a page answers."""

    status: HTTPStatus
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


#: What socketserver hands on; of TCP always the socket.
Request = socket.socket | tuple[bytes, socket.socket]
Page = Callable[[], Reply]


class HttpEndpoint:
    """Holds the address from when it is made, so that a busy port is found at the start; serves pages later."""

    def __init__(self, address: ListenAddress) -> None:
        """Listen on `address`; clients wait until `serve`.

        Raises:
            RunError: the address is in use, or none of this machine.
        """
        self._address = address
        try:
            self._server = _Server(address)
        except OSError as exc:
            raise RunError(f"metrics.listen: cannot listen on {address}: {exc.strerror or exc}") from exc
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True)

    def serve(self, pages: Mapping[str, Page]) -> None:
        """Answer from now on with `pages`, by path; called once. A page may be called in several threads at once."""
        self._server.pages = pages
        self._thread.start()
        logger.info("metrics and health: http://%s%s", self._address, ", ".join(pages))

    def close(self) -> None:
        """Listen no more; may be called twice. Who is being served is left to it."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingMixIn, TCPServer):
    """A thread for each client, but not any number of them."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, address: ListenAddress) -> None:
        self.address_family = socket.AF_INET6 if ip_address(address.host).version == 6 else socket.AF_INET
        self.pages: Mapping[str, Page] = {}
        self._lock = threading.Lock()
        self._due_s: dict[Request, float] = {}  # by when each client must be done, monotonic seconds; under the lock
        self._refusals = _Refusals()
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: Request, client_address: object) -> None:
        """Serve in a thread, or turn away."""
        if not self._admits(request):
            self._refusals.add(f"more than {MOST_CLIENTS} clients at once")
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError as exc:  # what threading says when the system gives no thread
            self._refusals.add(str(exc))
            self.shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections whose time is up, and warn of refusals; the server's thread calls it all the time."""
        now_s = time.monotonic()
        with self._lock:
            for request, due_s in self._due_s.items():
                if due_s <= now_s:
                    self._due_s[request] = float("inf")  # its place is taken until its thread ends
                    _hang_up(request)
        self._refusals.warn(now_s)

    def shutdown_request(self, request: Request) -> None:
        """Close the connection, and give its place back."""
        with self._lock:  # so that no connection is ended whose file descriptor is another's by now
            self._due_s.pop(request, None)
            super().shutdown_request(request)

    def _admits(self, request: Request) -> bool:
        with self._lock:
            if len(self._due_s) >= MOST_CLIENTS:
                return False
            self._due_s[request] = time.monotonic() + CLIENT_TIMEOUT_S
            return True

    def handle_error(self, *_: object) -> None:
        """Tell a client that went away from a fault of ours, which must be seen."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError):
            logger.debug("metrics: a client went away")
        else:
            logger.error("metrics: a page failed", exc_info=error)


class _Refusals:
    """Counts the clients that were turned away, and says so now and then; used by the server's thread alone."""

    def __init__(self) -> None:
        self._count = 0
        self._reason = ""
        self._warned_s = float("-inf")

    def add(self, reason: str) -> None:
        """Count one more."""
        self._count += 1
        self._reason = reason

    def warn(self, now_s: float) -> None:
        """Log those since the last warning, unless that was just now."""
        if self._count and now_s - self._warned_s >= WARN_EVERY_S:
            logger.warning("metrics: %s, turned away: %d", self._reason, self._count)
            self._count, self._warned_s = 0, now_s


def _hang_up(request: Request) -> None:
    """Have the thread that waits for this client find the connection's end."""
    with suppress(OSError):  # the client was faster
        cast("socket.socket", request).shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with the server's pages."""

    server: _Server

    def do_GET(self) -> None:
        """Answer with the page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without its body."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        reply = self._reply()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(reply.body)

    def _reply(self) -> Reply:
        try:
            page = self.server.pages.get(urlsplit(self.path).path)
        except ValueError as exc:  # as `http://[/metrics`
            return Reply(HTTPStatus.BAD_REQUEST, f"{exc}\n".encode())
        return _not_found(self.server.pages) if page is None else page()

    def version_string(self) -> str:
        """Name the program, not its Python."""
        return "vision-line"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name for it
        """A scrape a second is no news."""


def _not_found(pages: Mapping[str, Page]) -> Reply:
    return Reply(HTTPStatus.NOT_FOUND, f"expected {', '.join(pages)}\n".encode())
