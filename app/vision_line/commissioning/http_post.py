# SPDX-License-Identifier: AGPL-3.0-or-later
"""One HTTP POST to a device that nobody vouches for: a bound on size and time, and no redirect is followed."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass

from vision_line.errors import SourceError, SourceErrorCode

_MOST_BYTES = 1 << 20
_TYPE = "application/soap+xml; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, challenges of a 401, and the body."""

    status: int
    challenges: tuple[str, ...]
    body: bytes


def post(host: str, port: int, path: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> HttpAnswer:
    """Post `body` and return the answer, all within `timeout_s`. Blocks.

    Raises:
        SourceError: nothing that can be read came in time.
    """
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    with closing(connection), _said_of(host, port):
        connection.connect()
        with _ended_after(timeout_s, connection.sock):
            connection.request("POST", path, body, {"Content-Type": _TYPE, **headers})
            with closing(connection.getresponse()) as response:
                data = response.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise SourceError(host, SourceErrorCode.FAILED, f"its answer has more than {_MOST_BYTES} bytes")
    return HttpAnswer(response.status, tuple(response.headers.get_all("WWW-Authenticate", [])), data)


@contextmanager
def _ended_after(timeout_s: float, sock: socket.socket) -> Iterator[None]:
    """Cut the connection when the time is over: each byte of a device that drips them is in time by itself."""
    timer = threading.Timer(timeout_s, _cut, [sock])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _cut(sock: socket.socket) -> None:
    with suppress(OSError):  # it ended by itself
        sock.shutdown(socket.SHUT_RDWR)


@contextmanager
def _said_of(host: str, port: int) -> Iterator[None]:
    place = f"http://{host}:{port}"
    try:
        yield
    except TimeoutError as exc:
        raise SourceError(host, SourceErrorCode.TIMEOUT, f"no answer from {place}") from exc
    except socket.gaierror as exc:
        raise SourceError(host, SourceErrorCode.NAME_UNKNOWN, f"{place}: {exc.strerror}") from exc
    except ConnectionRefusedError as exc:
        raise SourceError(host, SourceErrorCode.REFUSED, f"nothing listens at {place}") from exc
    except OSError as exc:
        raise SourceError(host, SourceErrorCode.UNREACHABLE, f"{place}: {exc.strerror or exc}") from exc
    except (http.client.HTTPException, ValueError) as exc:
        raise SourceError(host, SourceErrorCode.FAILED, f"{place}: no HTTP answer: {type(exc).__name__}") from exc
