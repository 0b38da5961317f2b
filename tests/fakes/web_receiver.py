# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real HTTP server that keeps what is posted to it, and answers as it is told: well, late, never, or with lies."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Posted:
    """A request as it came."""

    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def events(self) -> list[dict[str, object]]:
        """Return its CloudEvents."""
        found = json.loads(self.body)
        return found if isinstance(found, list) else [found]


class WebReceiver(ThreadingHTTPServer):
    """`answer` is a status, or `hang`, `drop`; a body that is `short`, `held` (does not end) or `long`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: int | str = 204
        self.answer_headers: dict[str, str] = {}
        self.late_s = 0.0
        self.posted: list[Posted] = []
        self.accepted: list[dict[str, object]] = []
        self.let_go = threading.Event()

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

    def wait_for(self, count: int, limit_s: float = 90.0) -> list[dict[str, object]]:
        """Return the events that were accepted, once there are so many."""
        deadline_s = time.monotonic() + limit_s
        while len(self.accepted) < count:
            assert time.monotonic() < deadline_s, f"{len(self.accepted)} of {count}"
            time.sleep(0.01)
        return self.accepted

    def wait_for_requests(self, count: int, limit_s: float = 90.0) -> list[Posted]:
        """Return the requests, once there are so many."""
        deadline_s = time.monotonic() + limit_s
        while len(self.posted) < count:
            assert time.monotonic() < deadline_s, f"{len(self.posted)} of {count}"
            time.sleep(0.01)
        return self.posted


class _Handler(BaseHTTPRequestHandler):
    server: WebReceiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        posted = Posted({name.lower(): value for name, value in self.headers.items()}, body, time.monotonic())
        self.server.posted.append(posted)
        answer = self.server.answer
        if answer == "hang":
            self.server.let_go.wait(30)
            self.close_connection = True
            return
        if answer == "drop":
            self.close_connection = True
            return
        time.sleep(self.server.late_s)
        self._answer(answer, posted)

    def _answer(self, answer: int | str, posted: Posted) -> None:
        lies = {"short": (b"ok", 500), "held": (b"ok", 500), "long": (b"x" * 500, 2)}
        content, length = lies.get(str(answer), (b"", 0))
        status = answer if isinstance(answer, int) else 200
        if 200 <= status < 300:
            self.server.accepted += posted.events
        self.send_response(status)
        for name, value in self.server.answer_headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(content)
        if answer == "held":
            self.server.let_go.wait(30)
        self.close_connection = isinstance(answer, str)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base's name for it
        """Print nothing."""


@contextmanager
def receiving() -> Iterator[WebReceiver]:
    """Yield a server that runs."""
    server = WebReceiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()
