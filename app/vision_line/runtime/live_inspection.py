# SPDX-License-Identifier: AGPL-3.0-or-later
"""What works from the moment that the device is open until the last frame on it has its result."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vision_line.ports import Device
from vision_line.runtime.load_watch import LoadWatch
from vision_line.scheduler import Scheduler

logger = logging.getLogger(__name__)

#: How long a drain may take before it is forced.
DRAIN_S = 15.0
#: How long a scheduler that was told to end at once is waited for; one that hangs in a device does not answer.
ABORT_S = 1.0


@dataclass(frozen=True, slots=True)
class LiveInspection:
    """The open device, the scheduler that feeds it, and what watches and follows beside them."""

    device: Device
    scheduler: Scheduler
    load_watch: LoadWatch
    helpers: Sequence[asyncio.Task[None]]

    async def drain(self, forced: asyncio.Event) -> None:
        """Let what is in flight be recorded; `forced` or a device that hangs ends the waiting."""
        for helper in self.helpers:
            helper.cancel()
        self.load_watch.close()
        self.scheduler.stop()
        ended: asyncio.Future[Any] = asyncio.wrap_future(self.scheduler.outcome)
        waited: asyncio.Future[Any] = asyncio.ensure_future(forced.wait())
        await asyncio.wait({ended, waited}, timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        waited.cancel()
        self.scheduler.abort()
        if not ended.done():  # unless it is stuck inside the device, it books what it leaves undone and is gone
            await asyncio.wait({ended}, timeout=ABORT_S)
        if ended.done():
            # Its error ends the run through `outcome_of`; looked at here, it is not reported as forgotten as well.
            ended.exception()
            self.device.close()
        else:
            # Its thread is still inside the device: closing that under its feet would crash, the exit frees it.
            logger.warning("stopped at once: frames under way have no result")


async def outcome_of(scheduler: Scheduler) -> None:
    """End with the scheduler's thread; its error ends the run."""
    await asyncio.wrap_future(scheduler.outcome)
