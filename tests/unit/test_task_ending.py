# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tasks end, also those that overhear it once."""

from __future__ import annotations

import asyncio

import pytest

from vision_line.task_ending import end_tasks


async def overhear(times: int) -> None:
    """Go on after so many cancellations."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            times -= 1
            if times < 0:
                raise


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_task_that_overhears_a_cancellation_ends(times: int) -> None:
    """As one does that waits by `asyncio.wait_for` of Python 3.11, for something that comes just then."""
    task = asyncio.create_task(overhear(times))
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await end_tasks(task, again_s=0.05)

    assert task.cancelled()


async def test_what_has_ended_and_what_fails_is_no_trouble() -> None:
    """Whoever asks for it finds the outcome; nothing is reported as forgotten."""

    async def fail() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("at its end")

    over, failing = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await end_tasks()
    await end_tasks(over, failing)

    assert over.done()
    assert isinstance(failing.exception(), ValueError)
