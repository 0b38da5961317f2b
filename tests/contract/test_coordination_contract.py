# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the fleet's protocol relies on, asked of the store that plants have: three real NATS servers on loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from nats import connect
from nats.js.kv import KeyValue
from tests.fakes.nats_servers import NatsServers, running_nats

from vision_line.fleet import nats_coordination
from vision_line.fleet.coordination import Coordination, CoordinationError, StoreEntry
from vision_line.fleet.nats_coordination import NatsCoordination

PATIENCE_S = 40.0
_T = TypeVar("_T")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    """Three servers for all tests of the file."""
    with running_nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
async def store(servers: NatsServers) -> AsyncIterator[NatsCoordination]:
    """A store whose servers all run, and answer."""
    servers.start_all()
    await asyncio.to_thread(servers.until_healthy)
    async with opened(servers) as coordination:
        await insisted(lambda: coordination.put("node.warm", b"up"))
        yield coordination


@asynccontextmanager
async def opened(servers: NatsServers, name: str = "test") -> AsyncIterator[NatsCoordination]:
    """Yield another client's view of the same store."""
    coordination = NatsCoordination(servers.urls, name)
    try:
        yield coordination
    finally:
        await coordination.close()


async def insisted(call: Callable[[], Awaitable[_T]]) -> _T:
    """Ask until the store answers, as nodes do."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call()
        except CoordinationError:
            assert time.monotonic() < deadline_s, "the store never answered"
            await asyncio.sleep(0.1)


async def until_seen(store: Coordination, wanted: Callable[[StoreEntry], bool]) -> list[StoreEntry]:
    """Return what a new watch brings, up to the first entry that is wanted."""
    seen = []
    async with asyncio.timeout(PATIENCE_S), aclosing(store.watch()) as entries:  # type: ignore[type-var]
        async for entry in entries:
            seen.append(entry)
            if wanted(entry):
                break
    return seen


async def test_a_value_is_what_was_put_last(store: NatsCoordination) -> None:
    """And each write has a higher revision, whatever its key."""
    first = await store.put("node.a", b"1")
    other = await store.put("node.b", b"2")
    last = await store.put("node.a", b"3")

    assert await store.get("node.a") == StoreEntry("node.a", b"3", last)
    assert first < other < last


async def test_nothing_there_is_none(store: NatsCoordination) -> None:
    """It is the store's answer, not the lack of one."""
    assert await store.get("node.never") is None


async def test_of_two_swaps_for_one_revision_one_is_refused(servers: NatsServers, store: NatsCoordination) -> None:
    """Two leaders cannot both write the next plan."""
    async with opened(servers, "other") as other:
        before = await store.get("swapped")
        expected = 0 if before is None else before.revision
        done = await asyncio.gather(store.swap("swapped", b"a", expected), other.swap("swapped", b"b", expected))

        assert sum(revision is None for revision in done) == 1
        revision = next(revision for revision in done if revision)
        assert await store.swap("swapped", b"c", expected) is None
        assert await store.swap("swapped", b"d", revision) is not None
        assert (await store.get("swapped") or StoreEntry("", b"", 0)).value == b"d"


async def test_a_watch_begins_with_what_stands_there(store: NatsCoordination) -> None:
    """Then it brings each change."""
    await store.put("node.w", b"before")
    async with asyncio.timeout(PATIENCE_S), aclosing(store.watch()) as entries:  # type: ignore[type-var]
        async for entry in entries:
            if entry.key == "node.w":
                break
        assert entry.value == b"before"
        revision = await store.put("node.w", b"after")
        async for entry in entries:
            if entry.revision == revision:
                break
    assert entry == StoreEntry("node.w", b"after", revision)


async def test_values_are_dated_by_one_clock(servers: NatsServers, store: NatsCoordination) -> None:
    """The same value by whatever way it comes, and a later one later."""
    first = await store.put("node.old", b"1")
    await asyncio.sleep(0.3)
    last = await store.put("node.new", b"2")
    seen = {one.revision: one for one in await until_seen(store, lambda entry: entry.revision == last)}
    asked = await store.get("node.old")

    assert asked is not None
    assert asked.created_s == pytest.approx(seen[first].created_s, abs=1e-3)
    assert 0.2 < seen[last].created_s - seen[first].created_s < PATIENCE_S


async def test_a_watch_that_comes_too_late_is_ended(
    servers: NatsServers, store: NatsCoordination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the client and at the servers; and no task of it is left when the connection is closed."""
    real, begun = KeyValue.watchall, asyncio.Semaphore(0)

    async def slow(self: KeyValue, **more: float) -> KeyValue.KeyWatcher:
        watcher = await real(self, **more)
        begun.release()
        await asyncio.sleep(nats_coordination.REQUEST_S)
        return watcher

    monkeypatch.setattr(KeyValue, "watchall", slow)
    before = asyncio.all_tasks()
    async with opened(servers, "late") as late:
        watching = asyncio.create_task(until_seen(late, lambda _: True))
        async with asyncio.timeout(PATIENCE_S):
            await begun.acquire()
            await begun.acquire()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await insisted(lambda: at_most_one_watch(servers))
    assert not asyncio.all_tasks() - before


async def at_most_one_watch(servers: NatsServers) -> None:
    """Return where the servers serve one watch or none.

    Raises:
        CoordinationError: they serve more.
    """
    client = await connect(servers.urls)
    try:
        served = [one for one in await client.jetstream().consumers_info("KV_fleet") if one.push_bound]
    finally:
        await client.close()
    if len(served) > 1:
        raise CoordinationError(f"{len(served)} watches")


async def test_a_connection_that_a_server_ended_for_good_is_made_anew(store: NatsCoordination) -> None:
    """As after words of the client that it does not take: such a client does not connect again."""
    await store.put("node.a", b"1")
    client = store._client
    assert client is not None
    closed = asyncio.Event()

    async def note() -> None:
        closed.set()

    client._closed_cb = note
    client._transport.write(b"NONSENSE\r\n")  # type: ignore[union-attr]
    async with asyncio.timeout(PATIENCE_S):
        await closed.wait()

    assert await insisted(lambda: store.put("node.a", b"2")) > 0


async def test_a_silent_watch_is_begun_anew(store: NatsCoordination) -> None:
    """After a second without anything the values come again: nobody waits for ever for a watch that died."""
    revision = await store.put("node.s", b"once")
    times = 0
    async with asyncio.timeout(PATIENCE_S), aclosing(store.watch()) as entries:  # type: ignore[type-var]
        async for entry in entries:
            times += entry.revision == revision
            if times == 2:
                break


async def test_a_large_plan_fits(store: NatsCoordination) -> None:
    """Thousands of cameras in one value."""
    value = bytes(300_000)
    revision = await store.put("plan", value)

    assert await store.get("plan") == StoreEntry("plan", value, revision)


async def test_the_loss_of_one_server_is_survived(servers: NatsServers, store: NatsCoordination) -> None:
    """Of the one that leads the bucket: values stay, and writes go on after some seconds."""
    revision = await store.put("plan", b"kept")
    servers.kill(await leading(servers))
    await insisted(lambda: store.put("node.x", b"on"))

    assert await insisted(lambda: store.get("plan")) == StoreEntry("plan", b"kept", revision)


async def leading(servers: NatsServers) -> int:
    """Return which server leads the bucket."""
    client = await connect(servers.urls)
    try:
        info = await client.jetstream().stream_info("KV_fleet")
        assert info.cluster is not None
        assert info.cluster.leader is not None
        return int(info.cluster.leader.removeprefix("s"))
    finally:
        await client.close()


async def test_without_a_majority_nothing_is_written(servers: NatsServers, store: NatsCoordination) -> None:
    """What stands there may still be read, and is never taken for "nothing there"; it goes on when one is back."""
    await store.put("plan", b"kept")
    servers.kill(0)
    servers.kill(1)
    with pytest.raises(CoordinationError):
        await store.put("plan", b"lost")
    with suppress(CoordinationError):
        assert await store.get("plan") is not None
    servers.start(0)
    await insisted(lambda: store.put("plan", b"found"))

    assert (await insisted(lambda: store.get("plan")) or StoreEntry("", b"", 0)).value == b"found"


async def test_servers_that_lost_everything_get_their_bucket_back(
    servers: NatsServers, store: NatsCoordination
) -> None:
    """All three at once, with their disks; the watch of before brings what is put then."""
    await store.put("plan", b"gone")
    watching = asyncio.create_task(until_seen(store, lambda entry: entry.value == b"new"))
    servers.kill_all(wiped=True)
    with pytest.raises(CoordinationError):
        await store.get("plan")
    servers.start_all()

    assert await insisted(lambda: store.get("plan")) is None
    await insisted(lambda: store.put("node.n", b"new"))
    assert (await watching)[-1].key == "node.n"


async def test_a_store_that_is_away_from_the_start_is_no_store(tmp_path: Path) -> None:
    """A node begins without it; when it comes, it is used."""
    servers = NatsServers(tmp_path, 1)
    async with opened(servers) as store:
        with pytest.raises(CoordinationError):
            await store.get("plan")
        servers.start_all()
        try:
            assert await insisted(lambda: store.get("plan")) is None
        finally:
            servers.kill_all()
