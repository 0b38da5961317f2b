# SPDX-License-Identifier: AGPL-3.0-or-later
"""The feed's end in the run: a socket in the record directory and the thread that serves it.

Whatever fails here is logged and shown, and the inspection goes on without the feed.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

from vision_line.feed.clients import FeedClients
from vision_line.feed.feed_socket import FeedSocket
from vision_line.feed.headers import FeedFacts
from vision_line.feed.offers import Offers
from vision_line.ports import FeedStatus

logger = logging.getLogger(__name__)

#: How long clients have to take the last messages, in seconds.
CLOSE_S = 1.0


class FeedServer:
    """Serves from `open` to `close`; `offers` is what the run's threads use, before, meanwhile and after."""

    def __init__(self, facts: FeedFacts) -> None:
        """Serve nobody yet."""
        self.offers = Offers()
        self._facts = facts
        self._socket: FeedSocket | None = None
        self._clients: FeedClients | None = None
        self._problem = ""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    @property
    def status(self) -> FeedStatus:
        """How it fares; any thread."""
        status = FeedStatus() if self._clients is None else self._clients.status
        return replace(status, clients=0, problem=self._problem) if self._problem else status

    def open(self, directory: Path) -> None:
        """Listen in `directory`, which this run has locked; where that cannot be, say so and do without."""
        try:
            self._socket = FeedSocket(directory)
            self._clients = FeedClients(self._socket.listener, self.offers, self._facts)
            self._thread.start()
        except (OSError, RuntimeError) as exc:  # RuntimeError: the system gives no thread
            self._problem = f"no live feed in {directory}: {getattr(exc, 'strerror', None) or exc}"
            logger.warning("%s", self._problem)
            if self._socket is not None:
                self._socket.close()

    def fail(self, exc: Exception) -> None:
        """End the feed by a fault, which is logged and shown; any thread."""
        self._problem = f"the live feed failed: {type(exc).__name__}: {exc}"
        logger.error("the live feed failed; inspection goes on without it", exc_info=exc)
        self._closing.set()
        self.offers.inbox.wake()

    def close(self) -> None:
        """Say goodbye to the clients and end; may be called twice."""
        self._closing.set()
        self.offers.inbox.wake()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S + 1.0)
        else:
            self.offers.close()

    def _run(self) -> None:
        clients, listening = self._clients, self._socket
        if clients is None or listening is None:
            raise ValueError("expected an open feed")
        try:
            while not self._closing.is_set():
                clients.turn()
            clients.part(self._problem or "the run has ended", CLOSE_S)
        except Exception as exc:  # noqa: BLE001  whatever it is, it ends the feed and not the run
            self.fail(exc)
        finally:
            self.offers.close()
            clients.close()
            listening.close()
