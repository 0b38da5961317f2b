# SPDX-License-Identifier: AGPL-3.0-or-later
"""A thread that shows the newest snapshot, so that a slow or paused terminal never holds up the event loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager

from vision_line.telemetry.snapshot import Snapshot

logger = logging.getLogger(__name__)

#: Shows snapshots while its context is open. Opened, used and closed in the painter's thread.
Canvas = AbstractContextManager[Callable[[Snapshot], None]]

#: How long the end waits for a terminal that takes no output. It is a daemon thread: the program can still exit.
CLOSE_TIMEOUT_S = 2.0


class Painter:
    """Owns the canvas and the thread that draws on it; snapshots that come while it draws replace each other."""

    def __init__(self, open_canvas: Callable[[], Canvas]) -> None:
        self.ended: Future[None] = Future()
        self._open_canvas = open_canvas
        self._newest: Snapshot | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="painter", daemon=True)
        self._thread.start()

    def show(self, snapshot: Snapshot) -> None:
        """Queue a snapshot to be drawn; never blocks."""
        with self._changed:
            self._newest = snapshot
            self._changed.notify()

    def close(self) -> None:
        """Draw the last snapshot, close the canvas and end the thread; idempotent. Blocks up to 2 s."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("the terminal accepts no output; its state is not restored")

    def _run(self) -> None:
        try:
            self._paint()
        except OSError as exc:
            logger.warning("the terminal is gone, nothing is shown from here on: %s", exc)
            self.ended.set_result(None)
        except BaseException as exc:  # noqa: BLE001  carried over to the event loop, which raises it
            self.ended.set_exception(exc)
        else:
            self.ended.set_result(None)

    def _paint(self) -> None:
        with self._open_canvas() as paint:
            while (snapshot := self._next()) is not None:
                paint(snapshot)

    def _next(self) -> Snapshot | None:
        """Wait for a snapshot; None when there is none left and the painter closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._closing)
            snapshot, self._newest = self._newest, None
            return snapshot


async def run_painter(open_canvas: Callable[[], Canvas], get_snapshot: Callable[[], Snapshot], period_s: float) -> None:
    """Show a snapshot every `period_s` until cancelled, or until the terminal goes away.

    An error while drawing is raised here, after the canvas was closed.
    """
    painter = Painter(open_canvas)
    ended = asyncio.wrap_future(painter.ended)
    try:
        while not ended.done():
            painter.show(get_snapshot())
            await asyncio.wait({ended}, timeout=period_s)
    finally:
        painter.close()
    await ended
