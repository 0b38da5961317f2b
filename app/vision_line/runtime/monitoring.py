# SPDX-License-Identifier: AGPL-3.0-or-later
"""What watches a run from outside: `/metrics`, `/healthz` and `/readyz`."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from vision_line.ports import LogStatus
from vision_line.telemetry.http_endpoint import HttpEndpoint, Reply
from vision_line.telemetry.liveness import Heartbeats, why_not_healthy, why_not_ready
from vision_line.telemetry.reading import Reading

if TYPE_CHECKING:
    from vision_line.telemetry.exposition import Exposition

#: How often the event loop shows that it moves.
BEAT_EVERY_S = 0.5
#: How long a page waits for the event loop.
READ_WITHIN_S = 3.0
_LOOP_HANGS = f"the event loop does not answer within {READ_WITHIN_S:.0f} s"


class Monitoring:
    """Belongs to the event loop's thread; pages are made in the endpoint's threads, and read the run in the loop's."""

    def __init__(
        self, endpoint: HttpEndpoint | None, read: Callable[[], Reading], log_status: Callable[[], LogStatus]
    ) -> None:
        """`read` is called in the event loop's thread, `log_status` in any."""
        self._endpoint = endpoint
        self._read = read
        self._log_status = log_status
        self.beats = Heartbeats(time.monotonic())

    def serve(self) -> None:
        """Answer from now on, if an address is configured; in the event loop, once the cameras are known."""
        if self._endpoint is None:
            return
        from vision_line.telemetry.exposition import Exposition

        loop = asyncio.get_running_loop()
        exposition = Exposition(lambda: self._read_in(loop))
        self._endpoint.serve(
            {
                "/metrics": lambda: _metrics(exposition),
                "/healthz": self._healthz,
                "/readyz": lambda: self._readyz(loop),
            }
        )

    async def run(self) -> None:
        """Show that the event loop moves, until cancelled."""
        while True:
            self.beats.loop_s = time.monotonic()
            await asyncio.sleep(BEAT_EVERY_S)

    def close(self) -> None:
        """Answer no more."""
        if self._endpoint is not None:
            self._endpoint.close()

    def _read_in(self, loop: asyncio.AbstractEventLoop) -> Reading:
        """Return a reading made in the event loop's thread, where all figures are of one moment.

        Raises:
            TimeoutError: the loop does not answer.
        """

        async def read() -> Reading:
            return self._read()

        future = asyncio.run_coroutine_threadsafe(read(), loop)
        try:
            return future.result(READ_WITHIN_S)
        except TimeoutError:
            future.cancel()
            raise

    def _healthz(self) -> Reply:
        reasons = why_not_healthy(self.beats, self._log_status(), time.monotonic())
        return _health_reply("works", reasons, {})

    def _readyz(self, loop: asyncio.AbstractEventLoop) -> Reply:
        try:
            reading = self._read_in(loop)
        except TimeoutError:
            return _health_reply("inspects", [_LOOP_HANGS], {})
        return _health_reply("inspects", why_not_ready(self.beats, reading, time.monotonic()), reading.troubles)


def _metrics(exposition: Exposition) -> Reply:
    try:
        return Reply(HTTPStatus.OK, exposition.text(), exposition.CONTENT_TYPE)
    except TimeoutError:
        return Reply(HTTPStatus.SERVICE_UNAVAILABLE, f"{_LOOP_HANGS}\n".encode())


def _health_reply(what: str, reasons: list[str], not_inspected: dict[str, str]) -> Reply:
    """Return 200 or 503 with the answer, the reasons, and which cameras are not inspected, as JSON."""
    status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
    body = {what: not reasons, "reasons": reasons, "not_inspected": not_inspected}
    return Reply(status, f"{json.dumps(body, ensure_ascii=False)}\n".encode(), "application/json")
