# SPDX-License-Identifier: AGPL-3.0-or-later
"""A few pages over HTTP, read only, in threads of their own: nothing that inspects waits for a client."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from socketserver import TCPServer, ThreadingMixIn
from urllib.parse import urlsplit

from vision_line.config.listen import ListenAddress
from vision_line.errors import RunError

logger = logging.getLogger(__name__)

#: A client that sends or takes nothing for this long is left, in seconds.
CLIENT_TIMEOUT_S = 5.0
#: Clients that are served at the same time; one more is turned away.
MOST_CLIENTS = 8
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
        self._room = threading.BoundedSemaphore(MOST_CLIENTS)
        super().__init__((address.host, address.port), _Handler)

    def process_request(self, request: Request, client_address: object) -> None:
        """Serve in a thread, or turn away."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            logger.warning("metrics: more than %d clients at once, one was turned away", MOST_CLIENTS)
            self.shutdown_request(request)

    def process_request_thread(self, request: Request, client_address: object) -> None:
        """Serve one client, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, *_: object) -> None:
        """Tell a client that went away from a fault of ours, which must be seen."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError):
            logger.debug("metrics: a client went away")
        else:
            logger.error("metrics: a page failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD with the server's pages."""

    server: _Server
    timeout = CLIENT_TIMEOUT_S

    def do_GET(self) -> None:
        """Answer with the page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without its body."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        page = self.server.pages.get(urlsplit(self.path).path)
        reply = _not_found(self.server.pages) if page is None else page()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(reply.body)

    def version_string(self) -> str:
        """Name the program, not its Python."""
        return "vision-line"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name for it
        """A scrape a second is no news."""


def _not_found(pages: Mapping[str, Page]) -> Reply:
    return Reply(HTTPStatus.NOT_FOUND, f"expected {', '.join(pages)}\n".encode())
