# SPDX-License-Identifier: AGPL-3.0-or-later
"""An engine that was right at the start is proven again while it inspects."""

from __future__ import annotations

import asyncio
import threading

import pytest

from vision_line.errors import RunError
from vision_line.runtime.engine_watch import watch_engines

DEADLINE_S = 40.0


async def test_an_engine_that_turns_wrong_ends_the_run() -> None:
    """Until then it goes on; and the error says since when results may be wrong."""
    said = ["", "", "cpu: it computes wrongly now"]
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match=r"computes wrongly now; what was inspected since \d{4}-\d\d-\d\dT"):
            await watch_engines(lambda: said.pop(0), every_s=0.01, ask_every_s=0.01)
    assert not said


async def test_a_machine_that_slept_is_proven_at_once() -> None:
    """It may have woken up on another processor."""
    asleep = iter([0.0, 0.0, 0.0, 5.0])
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match="wrong"):
            await watch_engines(lambda: "wrong", every_s=3600.0, ask_every_s=0.01, asleep_s=lambda: next(asleep, 5.0))


async def test_an_engine_that_fails_or_hangs_is_no_secret_and_holds_up_nothing() -> None:
    def fail() -> str:
        raise RunError("cpu: the engine failed")

    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(RunError, match="failed"):
            await watch_engines(fail, every_s=0.01, ask_every_s=0.01)
        hangs, over = threading.Event(), threading.Event()

        def hang() -> str:
            hangs.set()
            over.wait(DEADLINE_S)
            return ""

        watching = asyncio.create_task(watch_engines(hang, every_s=0.01, ask_every_s=0.01))
        await asyncio.to_thread(hangs.wait)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        over.set()
        for thread in [each for each in threading.enumerate() if each.name == "engine proof"]:
            await asyncio.to_thread(thread.join)
