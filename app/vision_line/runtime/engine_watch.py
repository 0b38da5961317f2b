# SPDX-License-Identifier: AGPL-3.0-or-later
"""Proves the engines again while they inspect: memory fails, and a virtual machine moves to another processor."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable

from vision_line.errors import DeviceError, RunError
from vision_line.records.formats import iso_utc

logger = logging.getLogger(__name__)

#: How often, in seconds; and how often it is asked whether the machine slept: it may have woken up elsewhere.
PROVE_EVERY_S = 600.0
ASK_EVERY_S = 10.0
_SLEPT_S = 1.0
#: A proof that takes longer is said to hang, and again after twice as long, in seconds.
HANGS_S = 60.0

#: Hears from when to when, by the wall clock, what was inspected may be wrong, and why.
Doubt = Callable[[float, float, str], None]


def _boot_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _asleep_s() -> float:
    return _boot_s() - time.monotonic()


async def watch_engines(
    prove: Callable[[], str],
    doubt: Doubt,
    *,
    every_s: float = PROVE_EVERY_S,
    ask_every_s: float = ASK_EVERY_S,
    hangs_s: float = HANGS_S,
    asleep_s: Callable[[], float] = _asleep_s,
    clock_utc: Callable[[], float] = time.time,
) -> None:
    """Have the engines proven again and again, until cancelled; `prove` says what is wrong, "" where nothing is.

    It is called in a thread that nobody waits for at the end: an engine may hang. `doubt` hears from when to when it
    may be wrong what was inspected. A proof that cannot be made now, a `DeviceError`, is made the next time.

    Raises:
        RunError: an engine computes wrongly that was right before, or failed.
    """
    right_utc, right_s = clock_utc(), _boot_s()
    while True:
        await _wait(every_s, ask_every_s, asleep_s)
        began_utc, began_s = clock_utc(), _boot_s()
        try:
            fault = await _in_a_thread(prove, right_utc, hangs_s)
        except DeviceError as exc:
            since = iso_utc(right_utc)
            logger.warning("the engines cannot be proven now, what was inspected since %s is unproven: %s", since, exc)
            continue
        except RunError as exc:
            fault = str(exc)
        if fault:
            now_utc, passed_s = clock_utc(), _boot_s() - right_s
            # both as the clock was and as it is: what was inspected before a step has the times of before
            since_utc, until_utc = min(right_utc, now_utc - passed_s), max(now_utc, right_utc + passed_s)
            words = f"{fault}; what was inspected since {iso_utc(since_utc)} may be wrong"
            try:
                doubt(since_utc, until_utc, fault)
            except RunError as exc:  # the disk is full or gone: then this is the only place that says it
                raise RunError(f"{words}, which the records do not say: {exc}") from exc
            raise RunError(words)
        right_utc, right_s = began_utc, began_s


async def _wait(every_s: float, ask_every_s: float, asleep_s: Callable[[], float]) -> None:
    before_s, until_s = asleep_s(), time.monotonic() + every_s
    while True:
        left_s = until_s - time.monotonic()
        if left_s <= 0 or asleep_s() - before_s >= _SLEPT_S:
            return
        await asyncio.sleep(min(ask_every_s, left_s))


async def _in_a_thread(call: Callable[[], str], right_utc: float, hangs_s: float) -> str:
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
        while not outcome.done():
            await asyncio.wait([outcome], timeout=hangs_s)
            if not outcome.done():
                since = iso_utc(right_utc)
                logger.error("the engines do not end their proof; what was inspected since %s is unproven", since)
                hangs_s *= 2
        return outcome.result()
    finally:
        outcome.cancel()  # where the run is over nobody asks any more
