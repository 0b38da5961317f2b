# SPDX-License-Identifier: AGPL-3.0-or-later
"""What works from the moment that the device is open until the last frame on it has its result."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vision_line.devices.several_models import SeveralModels
from vision_line.ports import DeviceLoad
from vision_line.runtime.engine_watch import EngineWatch
from vision_line.runtime.run_device import DeviceFitter
from vision_line.scheduler import Scheduler

logger = logging.getLogger(__name__)

#: How long a drain may take before it is forced.
DRAIN_S = 15.0
#: How long a scheduler that was told to end at once is waited for; one that hangs in a device does not answer.
ABORT_S = 1.0

#: How often the device is asked: what drivers tell is a mean over about as long.
SAMPLE_EVERY_S = 1.0
#: How long a question may take at the end.
_CLOSE_TIMEOUT_S = 0.2


class LoadWatch:
    """Owns the thread that asks how busy the device is; it ends by itself where there is nothing to report.

    A driver that hangs holds up nothing but the figures. It is a daemon thread and none of the event loop's
    executor, whose threads the program's exit waits for.
    """

    def __init__(
        self,
        ask: Callable[[], tuple[DeviceLoad, ...]],
        note: Callable[[tuple[DeviceLoad, ...]], None],
        period_s: float = SAMPLE_EVERY_S,
    ) -> None:
        """Start at once; `ask` and `note` are called in the thread, `note` with each answer of `ask`."""
        self._ask = ask
        self._note = note
        self._period_s = period_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="device loads", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no more; a question that hangs is left to the end of the process. May be called twice."""
        self._closing.set()
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        while not self._closing.is_set():
            loads = self._ask()
            self._note(loads)
            if not loads:  # a device that reports nothing now never will
                return
            self._closing.wait(self._period_s)


@dataclass(frozen=True, slots=True)
class LiveInspection:
    """The open device, the scheduler that feeds it, and what watches and follows beside them."""

    device: SeveralModels
    scheduler: Scheduler
    load_watch: LoadWatch
    fitter: DeviceFitter
    engine_watch: EngineWatch
    helpers: Sequence[asyncio.Task[None]]

    async def drain(self, forced: asyncio.Event) -> None:
        """Let what is in flight be recorded, and prove the engines once more; `forced` or what hangs ends the waiting.

        Raises:
            RunError: an engine that was right computes wrongly now.
        """
        for helper in self.helpers:
            helper.cancel()
        self.load_watch.close()
        self.scheduler.stop()
        ended = asyncio.wrap_future(self.scheduler.outcome)
        await _unless(forced, ended, DRAIN_S)
        self.scheduler.abort()
        if not ended.done():  # unless it is stuck inside the device, it books what it leaves undone and is gone
            await asyncio.wait({ended}, timeout=ABORT_S)
        if not ended.done():
            logger.warning("stopped at once: frames under way have no result")
            return  # its thread is still inside the device: closing that under its feet would crash, the exit frees it
        is_idle = True
        try:
            # Its error ends the run through `outcome_of`; looked at here, it is not reported as forgotten as well.
            if ended.exception() is None:
                is_idle = await self._prove_last(forced)
        finally:
            if is_idle:
                self.device.close()

    async def _prove_last(self, forced: asyncio.Event) -> bool:
        """Prove the engines once more, until the end is `forced`: who asks twice waits for no proof.

        Returns whether no proof is inside the device any more.

        Raises:
            RunError: an engine that was right computes wrongly now.
        """
        if forced.is_set():
            return True
        proof = asyncio.ensure_future(self.engine_watch.prove_last())
        try:
            await _unless(forced, proof)
            if proof.done():
                return proof.result()
            logger.warning("stopped at once: what was inspected since %s is unproven", self.engine_watch.right_since)
            return False
        finally:
            proof.cancel()


async def _unless(forced: asyncio.Event, work: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Wait until `work` is done, but not longer than until the end is `forced`, nor than `timeout_s`."""
    waited = asyncio.ensure_future(forced.wait())
    await asyncio.wait([work, waited], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    waited.cancel()


async def outcome_of(scheduler: Scheduler) -> None:
    """End with the scheduler's thread; its error ends the run."""
    await asyncio.wrap_future(scheduler.outcome)
