# SPDX-License-Identifier: AGPL-3.0-or-later
"""Proves the engines again while they inspect: memory fails, and a virtual machine moves to another processor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial

from vision_line.errors import DeviceError, RunError
from vision_line.records.formats import iso_utc

logger = logging.getLogger(__name__)

#: How often, in seconds; and how often it is asked whether the machine slept: it may have woken up elsewhere.
PROVE_EVERY_S = 600.0
ASK_EVERY_S = 10.0
_SLEPT_S = 1.0
#: A proof that takes longer is said to hang, and again after twice as long, in seconds.
HANGS_S = 60.0
#: How long the last proof may take, in seconds: who ends a run waits for it.
LAST_S = 10.0

#: Hears from when to when, by the wall clock, what was inspected may be wrong, and why.
Doubt = Callable[[float, float, str], None]

#: Waits for a proof that another thread makes; may come back before it is done.
_Waiting = Callable[["asyncio.Future[str]"], Awaitable[None]]


def _boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _asleep_s() -> float:
    return _boot_s() - time.monotonic()


class EngineWatch:
    """Has the engines of a run proven again and again, and once more at its end. Lives in the event loop's thread."""

    def __init__(
        self,
        prove: Callable[[], str],
        doubt: Doubt,
        alarm: Callable[[str], None],
        *,
        asleep_s: Callable[[], float] = _asleep_s,
        clock_utc: Callable[[], float] = time.time,
    ) -> None:
        """Begin with engines that were just proven; `prove` says what is wrong, "" where nothing is.

        It is called in a thread that nobody waits for at the end: an engine may hang. `doubt` hears from when to when
        it may be wrong what was inspected; `alarm` what is unproven now and why, "" when a proof holds again.
        """
        self._prove = prove
        self._doubt = doubt
        self._alarm = alarm
        self._asleep_s = asleep_s
        self._clock_utc = clock_utc
        self._right_utc, self._right_s = clock_utc(), _boot_s()
        self._was_wrong = False

    async def run(
        self, *, every_s: float = PROVE_EVERY_S, ask_every_s: float = ASK_EVERY_S, hangs_s: float = HANGS_S
    ) -> None:
        """Prove until cancelled. A proof that cannot be made now, a `DeviceError`, is made the next time.

        Raises:
            RunError: an engine computes wrongly that was right before, or failed.
        """
        while True:
            await _wait(every_s, ask_every_s, self._asleep_s)
            await self._prove_once(partial(_until_done, self, hangs_s))

    async def prove_last(self, timeout_s: float = LAST_S) -> bool:
        """Prove once more when nothing is inspected any more and the engines are still open; not after a fault.

        Returns whether the proof has ended; one that hangs is still inside the engines.

        Raises:
            RunError: as `run`.
        """
        return self._was_wrong or await self._prove_once(partial(_until_late, self, timeout_s))

    def raise_alarm_of_hanging(self) -> None:
        """Say that a proof does not end."""
        words = f"the engines do not end their proof; what was inspected since {self.right_since} is unproven"
        logger.error("%s", words)
        self._alarm(words)

    @property
    def right_since(self) -> str:
        """Return when the last proof that held began, in UTC."""
        return iso_utc(self._right_utc)

    async def _prove_once(self, wait: _Waiting) -> bool:
        """Prove, and return whether the proof has ended."""
        began_utc, began_s = self._clock_utc(), _boot_s()
        try:
            fault = await _in_a_thread(self._prove, wait)
        except DeviceError as exc:
            words = f"the engines cannot be proven now, what was inspected since {self.right_since} is unproven: {exc}"
            logger.warning("%s", words)
            self._alarm(words)
            return True
        except RunError as exc:
            fault = str(exc)
        if fault is None:
            return False
        if fault:
            self._was_wrong = True
            self._enter_doubt(fault)
        self._right_utc, self._right_s = began_utc, began_s
        self._alarm("")
        return True

    def _enter_doubt(self, fault: str) -> None:
        """Enter the doubt and end the run."""
        # both as the clock was and as it is: what was inspected before a step has the times of before
        now_utc, passed_s = self._clock_utc(), _boot_s() - self._right_s
        since_utc, until_utc = min(self._right_utc, now_utc - passed_s), max(now_utc, self._right_utc + passed_s)
        words = f"{fault}; what was inspected since {iso_utc(since_utc)} may be wrong"
        try:
            self._doubt(since_utc, until_utc, fault)
        except RunError as exc:  # the disk is full or gone: then this is the only place that says it
            raise RunError(f"{words}, which the records do not say: {exc}") from exc
        raise RunError(words)


async def _wait(every_s: float, ask_every_s: float, asleep_s: Callable[[], float]) -> None:
    before_s, until_s = asleep_s(), time.monotonic() + every_s
    while True:
        left_s = until_s - time.monotonic()
        if left_s <= 0 or asleep_s() - before_s >= _SLEPT_S:
            return
        await asyncio.sleep(min(ask_every_s, left_s))


async def _in_a_thread(call: Callable[[], str], wait: _Waiting) -> str | None:
    """Return what `call` says in a thread of its own, None where `wait` came back before it did."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[str] = loop.create_future()

    def settle(said: str | Exception) -> None:
        if outcome.done():  # who waited was cancelled
            return
        if isinstance(said, Exception):
            outcome.set_exception(said)
        else:
            outcome.set_result(said)

    def work() -> None:
        said: str | Exception
        try:
            said = call()
        except Exception as exc:  # noqa: BLE001  raised where it is waited for
            said = exc
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            loop.call_soon_threadsafe(settle, said)

    threading.Thread(target=work, name="engine proof", daemon=True).start()
    try:
        await wait(outcome)
        return outcome.result() if outcome.done() else None
    finally:
        outcome.cancel()  # where the run is over nobody asks any more


async def _until_done(watch: EngineWatch, hangs_s: float, outcome: asyncio.Future[str]) -> None:
    """Wait for a proof however long it takes, and say again and again that it hangs."""
    while not outcome.done():
        await asyncio.wait([outcome], timeout=hangs_s)
        if not outcome.done():
            watch.raise_alarm_of_hanging()
            hangs_s *= 2


async def _until_late(watch: EngineWatch, timeout_s: float, outcome: asyncio.Future[str]) -> None:
    """Wait for the last proof, but not for ever."""
    await asyncio.wait([outcome], timeout=timeout_s)
    if not outcome.done():
        since = watch.right_since
        logger.error("the engines did not end their last proof; what was inspected since %s is unproven", since)
