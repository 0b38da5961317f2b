# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who watches a store ends when it is told to, also in the moment in which an entry comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from vision_line.fleet import fleet_view, nats_coordination
from vision_line.fleet.coordination import StoreEntry
from vision_line.fleet.fleet_view import watched_fleet


class Watcher:
    """A watch as the client has it: its time limit is `wait_for`, which takes a cancellation for an entry."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[SimpleNamespace] = asyncio.Queue()

    async def updates(self, timeout: float | None = 5.0) -> SimpleNamespace:  # noqa: ASYNC109  as the client's
        return await asyncio.wait_for(self.queue.get(), timeout)


@pytest.mark.parametrize("turns", range(6))
async def test_a_watch_that_is_cancelled_as_an_entry_comes_ends(turns: int) -> None:
    """Whichever turn of the event loop lies between the two."""
    watcher = Watcher()

    async def watch() -> None:
        async for _ in nats_coordination._entries(watcher):  # type: ignore[arg-type]
            pass

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    watcher.queue.put_nowait(SimpleNamespace(operation=None, key="k", value=b"", revision=1, created=None))
    for _ in range(turns):
        await asyncio.sleep(0)
    watching.cancel()
    done, _ = await asyncio.wait({watching}, timeout=60)

    assert done
    assert watching.cancelled()


async def test_a_view_ends_though_its_watch_swallows_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator's command must not hang."""
    monkeypatch.setattr(fleet_view, "_ENDS_S", 0.1)

    class Store:
        async def get(self, _key: str) -> None:
            return None

        async def watch(self) -> AsyncIterator[StoreEntry]:
            for _ in range(3):
                try:
                    await asyncio.sleep(0.5)
                except asyncio.CancelledError:
                    await asyncio.sleep(0.5)
                yield StoreEntry("node.a", b"{}", 1)

    async with asyncio.timeout(5):
        view = await watched_fleet(Store(), watched_s=0.2)  # type: ignore[arg-type]
    assert not view.reports
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*(each for each in others if each is not None))  # it ends by itself here
