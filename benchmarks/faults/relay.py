# SPDX-License-Identifier: AGPL-3.0-or-later
"""A slow link: a relay that passes everything on later, unsteadily, or for a while not at all.

Linux's own `netem` is missing from many kernels and wants the rights of root; this works everywhere, in one way. It
passes TCP connections, over which all subjects of the bench take their video.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time

CHUNK = 16 << 10
#: So many chunks are on their way; a sender that is further ahead has to wait, as it has to for a full network.
ON_THE_WAY = 512


class Relay:
    """Listens on the loopback interface and passes to `to`; `delay_s` and `jitter_s` may change at any time.

    The delay holds for each direction. Jitter adds up to `jitter_s` to each piece; the order stays, as TCP keeps it.
    """

    def __init__(self, to: tuple[str, int]) -> None:
        """Listen."""
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.port = 0
        self._to = to
        self._draw = random.Random(11)
        self._loop = asyncio.new_event_loop()
        self._listens = threading.Event()
        self._over = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),), name="relay")
        self._thread.start()
        self._listens.wait()

    def stall(self, *, stalled: bool) -> None:
        """Let nothing arrive, or let it arrive again."""
        self._loop.call_soon_threadsafe(self._flows.clear if stalled else self._flows.set)

    def close(self) -> None:
        """End, with every connection."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.ensure_future(self._connect(reader, writer)))

        async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._listens.set()
            await self._over.wait()
            for connection in connections:
                connection.cancel()
            await asyncio.gather(*connections, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass both ways until one side ends; then both do."""
        writers = [writer]
        pumps: list[asyncio.Task[None]] = []
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._to)
            writers.append(far_writer)
            pumps = [asyncio.ensure_future(self._pump(*way)) for way in ((reader, far_writer), (far_reader, writer))]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass  # nobody listens there: the caller sees its connection end
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for each in writers:
                if self._over.is_set():
                    each.transport.abort()  # what waits in it would keep it open, and nobody is left to wait for that
                else:
                    each.close()
            await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(ON_THE_WAY)
        taking = asyncio.ensure_future(self._take(reader, way))
        try:
            await self._give(way, writer)
        except OSError:
            pass  # that side is gone
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, way: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Put what comes on its way, and at the end nothing."""
        data = b"begun"
        while data:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = b""  # reset: as good as ended
            await way.put((time.monotonic() + self.delay_s + self._draw.uniform(0, self.jitter_s), data))

    async def _give(self, way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        """Hand on what arrives, each piece at its time and none before the one ahead of it."""
        while True:
            due_s, data = await way.get()
            await asyncio.sleep(due_s - time.monotonic())
            await self._flows.wait()
            if not data:
                return
            writer.write(data)
            await writer.drain()
