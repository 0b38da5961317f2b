# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every request is answered by the plant's clock."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from vision_line.desk.local_time import shown_by
from vision_line.desk.recorded_clock import RecordedClock


class InPlantTime:
    """Has each request answered by the plant's clock as it is then."""

    def __init__(self, app: ASGIApp, clock: RecordedClock) -> None:
        self.app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        # The first is asked by nobody, so about no box; an asset is of no box either, and has no time in it.
        if scope["type"] == "lifespan" or scope["path"].startswith("/static/"):
            await self.app(scope, receive, send)
            return
        clock = self._clock.fresh()
        if clock is None:
            clock = await run_in_threadpool(self._clock.read)
        with shown_by(clock):
            await self.app(scope, receive, send)
