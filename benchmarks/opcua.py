# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clients of the OPC UA server: how long an event takes from its commit, what memory does, what clients leave behind.

The server is `vision-line outputs`, a process of its own; the clients subscribe here. Then 200 clients come and go,
half of them without a word, and as many as are allowed must find room. Memory grows from a quarter of the time on: by
then the caches of the records and what waits for acknowledgement are as large as they become.
Run: python -m benchmarks.opcua [SECONDS]; it needs SECONDS (60), and half a minute.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from asyncua import Client, ua
from asyncua.common.events import Event
from tests.fakes.desk_records import DeskRecords, writing
from tests.fakes.ports import free_port

from benchmarks.rounds import Report, percentile

CLIENTS = 10
PER_SECOND = 20.0
COMERS = 200
MAX_SESSIONS = 20
PUBLISHING_MS = 50
#: How long a client waits for an answer before it gives its connection up, in seconds.
PATIENCE_S = 10.0
#: Not measured: the clients' first events, and a server that still takes its memory.
SETTLED_S = 5.0
STREAMS = """[[output]]
type = "opcua"
name = "bench"
listen = "127.0.0.1:{port}"
encrypted = false
anonymous = true
max_sessions = {sessions}
"""


class Received:
    """When a client had which event of ours, by its number in the journal; when and why its connection was lost."""

    def __init__(self) -> None:
        self.at_s: dict[int, float] = {}
        self.lost: tuple[float, str] | None = None

    async def lose(self, why: Exception) -> None:
        """Note that nothing more will come: a client in a plant connects anew, and asks for what it missed."""
        self.lost = (time.monotonic(), repr(why))

    def event_notification(self, event: Event) -> None:
        """Note it."""
        self.at_s.setdefault(event.Number, time.monotonic())


class Server:
    """The outputs' process over records that are written to."""

    def __init__(self, folder: Path, rows: DeskRecords) -> None:
        self.folder = folder
        self.rows = rows
        self.run = rows.run(0, None, "cam1")
        self.port = free_port()
        self.url = f"opc.tcp://127.0.0.1:{self.port}/vision-line"
        streams = folder / "streams.toml"
        streams.write_text(STREAMS.format(port=self.port, sessions=MAX_SESSIONS), encoding="utf-8")
        command = [sys.executable, "-m", "vision_line", "outputs", "--streams", str(streams), "--record", str(folder)]
        self.process = subprocess.Popen(command)

    def client(self) -> Client:
        """Return a client that is not connected yet.

        The library's own asks each second, and by default has lost its connection where one answer takes a second.
        """
        return Client(self.url, timeout=PATIENCE_S, watchdog_intervall=PATIENCE_S)

    async def wait(self) -> None:
        """Wait until it listens."""
        while True:
            try:
                async with self.client():
                    return
            except OSError:
                await asyncio.sleep(0.2)

    @property
    def memory_mb(self) -> float:
        """Resident memory of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")) / 1024

    def commit(self) -> int:
        """Commit an event, and return its number in the journal."""
        self.rows.event(self.run, "cam1", time.monotonic() % 10_000)
        (number,) = self.rows.connection.execute("SELECT max(number) FROM journal").fetchone()
        return int(number)


@asynccontextmanager
async def subscribed(server: Server) -> AsyncIterator[list[Received]]:
    """Yield what ten clients receive."""
    everybody = [Received() for _ in range(CLIENTS)]
    async with AsyncExitStack() as stack:
        for received in everybody:
            client = await stack.enter_async_context(server.client())
            client.connection_lost_callback = received.lose
            own = await client.get_namespace_index("urn:vision-line:outputs")
            subscription = await client.create_subscription(PUBLISHING_MS, received)
            line = client.get_node(ua.NodeId("VisionLine", own))
            # As a client does that wants plain values: no structures.
            base = ua.NodeId(ua.ObjectIds.BaseEventType)
            names = [ua.QualifiedName(name, own) for name in ("Number", "Kind", "Camera", "Verdict")]
            chosen = [ua.SimpleAttributeOperand(base, [name], ua.AttributeIds.Value) for name in names]
            await subscription.subscribe_events(line, evfilter=ua.EventFilter(SelectClauses=chosen), queuesize=1000)
        yield everybody


async def timed(
    server: Server, everybody: list[Received], seconds: float, memory_mb: list[float] | None = None
) -> dict[int, float]:
    """Commit events for so long, and return when each was; `memory_mb` gets the server's memory each twelfth of it."""
    committed: dict[int, float] = {}
    began_s = time.monotonic()
    while (now_s := time.monotonic()) - began_s < seconds:
        number = server.commit()
        committed[number] = time.monotonic()
        if memory_mb is not None and now_s - began_s >= len(memory_mb) * seconds / 12:
            memory_mb.append(round(server.memory_mb, 1))
        await asyncio.sleep(max(0.0, 1 / PER_SECOND - (time.monotonic() - now_s)))
    for _ in range(100):
        if all(committed.keys() <= received.at_s.keys() for received in everybody):
            break
        await asyncio.sleep(0.1)
    return committed


async def come_and_go(server: Server) -> int:
    """Have clients come and go, half of them without a word; return how many then find room."""
    for number in range(COMERS):
        client = server.client()
        await client.connect()
        if number % 2:
            client.disconnect_socket()
        else:
            await client.disconnect()
    await asyncio.sleep(1.0)
    async with AsyncExitStack() as stack:
        for found in range(MAX_SESSIONS):
            try:
                await stack.enter_async_context(server.client())
            except ua.UaError:
                return found
    return MAX_SESSIONS


async def measured(server: Server, seconds: float, report: Report) -> bool:
    """Measure; return whether nothing was missing and nothing is left."""
    await server.wait()
    async with subscribed(server) as everybody:
        await timed(server, everybody, SETTLED_S)
        memory_mb: list[float] = []
        committed = await timed(server, everybody, seconds, memory_mb)
        memory_mb.append(round(server.memory_mb, 1))
    took_ms = [
        (received.at_s[number] - at_s) * 1000
        for received in everybody
        for number, at_s in committed.items()
        if number in received.at_s
    ]
    by_client = [sum(number not in received.at_s for number in committed) for received in everybody]
    missing = sum(by_client)
    began_s = min(committed.values())
    report.facts["missing by client"] = by_client
    report.facts["memory in MB, each twelfth"] = memory_mb
    report.facts["connection lost after s"] = [
        None if received.lost is None else (round(received.lost[0] - began_s, 1), received.lost[1])
        for received in everybody
    ]
    room = await come_and_go(server)
    report.add(
        clients=CLIENTS,
        events=len(committed),
        missing=missing,
        p50_ms=round(percentile(took_ms, 0.5), 1),
        p99_ms=round(percentile(took_ms, 0.99), 1),
        memory_mb=memory_mb[3],
        growth_percent=round((memory_mb[-1] / memory_mb[3] - 1) * 100, 2),
        room_after_200=room,
    )
    return not missing and room == MAX_SESSIONS


def main() -> int:
    """Measure for so many seconds; return 1 where an event is missing or a session is left."""
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    report = Report("opcua", {"seconds": seconds, "publishing_ms": PUBLISHING_MS, "events_a_second": PER_SECOND})
    with tempfile.TemporaryDirectory() as folder, writing(Path(folder)) as rows:
        rows.connection.execute("PRAGMA synchronous=OFF")
        server = Server(Path(folder), rows)
        try:
            holds = asyncio.run(measured(server, seconds, report))
        finally:
            server.process.terminate()
            server.process.wait(30)
    report.publish()
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
