# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who watches live video and shows nothing: what comes is let go, in as few turns as can be."""

from __future__ import annotations

import base64
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection

#: What is read at once: a client that woke for each message would cost what the browser of another machine does not.
_AT_ONCE_BYTES = 1 << 15


def cookie_of(desk: str, link: str) -> str:
    """Return the cookie of the session that a link opens."""
    asking = HTTPConnection(desk)
    asking.request("GET", "/" + link.split("/", 3)[3])
    return (asking.getresponse().getheader("set-cookie") or "").partition(";")[0]


@contextmanager
def watching(desk: str, cookie: str, paths: Sequence[str]) -> Iterator[None]:
    """Watch these WebSockets of live video meanwhile."""
    with ExitStack() as stack:
        for path in paths:
            opened = stack.enter_context(closing(_websocket(desk, f"/api/v1/live/{path}", cookie)))
            reading = threading.Thread(target=_let_go, args=(opened,))
            reading.start()
            stack.callback(reading.join)
            stack.callback(opened.shutdown, socket.SHUT_RDWR)
        yield


def _let_go(opened: socket.socket) -> None:
    while opened.recv(1 << 20):
        pass


def _websocket(desk: str, path: str, cookie: str) -> socket.socket:
    """Return a socket on which the desk sends messages; it answers no pings, so it lasts 40 s."""
    host, _, port = desk.partition(":")
    opened = socket.create_connection((host, int(port)))
    headers = {
        "Host": desk,
        "Origin": f"http://{desk}",
        "Cookie": cookie,
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
    }
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    opened.sendall("\r\n".join(lines).encode())
    if not (answer := opened.recv(4096)).startswith(b"HTTP/1.1 101"):
        raise ValueError(f"expected a WebSocket, found {answer!r}")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _AT_ONCE_BYTES)
    return opened
