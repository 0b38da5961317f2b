# SPDX-License-Identifier: AGPL-3.0-or-later
"""A fault in a callback of the event loop."""

from __future__ import annotations

import asyncio

import pytest

from vision_line.runtime.signals import raise_callback_faults


async def _broken_callback() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(raise_callback_faults())
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(lambda: int("x"))
        await asyncio.sleep(60)


def test_a_fault_in_a_callback_ends_the_run() -> None:
    """With its own error, as one in a task."""
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(_broken_callback())

    assert isinstance(caught.value.exceptions[0], ValueError)


async def _quiet() -> bool:
    watching = asyncio.create_task(raise_callback_faults())
    await asyncio.sleep(0)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return asyncio.get_running_loop().get_exception_handler() is None


def test_it_leaves_the_loop_as_it_was() -> None:
    """Whoever comes next has the loop's own handling."""
    assert asyncio.run(_quiet())
