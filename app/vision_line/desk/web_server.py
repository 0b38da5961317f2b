# SPDX-License-Identifier: AGPL-3.0-or-later
"""uvicorn on one socket: a busy port is found at once, and a signal ends it in order."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from vision_line.config.listen import ListenAddress
from vision_line.errors import RunError
from vision_line.leaving import run_with_signals_held

#: How long requests under way may take at the end, in seconds; browsers hold connections open for ever.
_GRACE_S = 3
#: Clients beyond this get 503: sixteen people with a few tabs.
_MOST_CONNECTIONS = 256
#: What a connection may have in the system's buffer that was not sent yet, and a message of a browser; in bytes.
_MOST_UNSENT = 128 * 1024
_LARGEST_MESSAGE = 4096


def bound_socket(address: ListenAddress) -> socket.socket:
    """Return a socket that holds the address.

    Raises:
        RunError: the address is in use, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # Named, because asyncio sends small answers at once (TCP_NODELAY) only where it is: else each waits some 40 ms.
    held = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What waits in the system cannot be dropped: live video for a slow browser is to wait here, where it can.
    held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _MOST_UNSENT)
    try:
        held.bind((address.host, address.port))
    except OSError as exc:
        held.close()
        raise RunError(f"--listen {address}: cannot listen: {exc.strerror or exc}") from exc
    return held


def serve(
    app: ASGIApp,
    held: socket.socket,
    on_ready: Callable[[], None],
    on_reload: Callable[[ssl.SSLContext | None], None],
    certificate: tuple[Path, Path] | None = None,
) -> bool:
    """Serve until SIGINT or SIGTERM; return whether one came. A second one does not wait for answers.

    `on_ready` is called once clients are answered, and `on_reload` at a SIGHUP, with what connections are made by from
    then on. With a `certificate` and its key: over TLS alone.
    """
    certificate_file, key_file = certificate or (None, None)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # images and video are compressed
        ws_max_size=_LARGEST_MESSAGE,
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_S,
        ssl_certfile=certificate_file,
        ssl_keyfile=key_file,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    server = _Server(config, on_ready, on_reload)
    run_with_signals_held(server.serve(sockets=[held]))
    return server.interrupted


class _Server(uvicorn.Server):
    """Does not raise the signal again when it has ended: the command has its own exit code for that."""

    def __init__(
        self,
        config: uvicorn.Config,
        on_ready: Callable[[], None],
        on_reload: Callable[[ssl.SSLContext | None], None],
    ) -> None:
        super().__init__(config)
        self.interrupted = False
        self._on_ready = on_ready
        self._on_reload = on_reload

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Have two signals end the server while it serves, and SIGHUP renew what it was given."""
        loop = asyncio.get_running_loop()
        handlers = {
            signal.SIGINT: self._on_signal,
            signal.SIGTERM: self._on_signal,
            signal.SIGHUP: lambda: self._on_reload(self.config.ssl),
        }
        before = {number: signal.getsignal(number) for number in handlers}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, handlers)  # a run that starts this has blocked SIGHUP until now
        try:
            yield
        finally:
            for number, earlier in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, earlier)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def _on_signal(self) -> None:
        self.force_exit = self.interrupted
        self.interrupted = self.should_exit = True
