# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real broker (mosquitto) on a port of loopback, and a subscriber that keeps all that comes."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from tests.fakes.ports import free_port


@dataclass
class Broker:
    """Mosquitto with what it keeps in `folder`; it may be killed and started again."""

    folder: Path
    extra: str = "allow_anonymous true\n"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    saves_at_once: bool = True  # each change: what it acknowledged outlives a kill, and it is slow

    def start(self) -> None:
        """Start it, and wait until it answers; what it kept before is there again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            self.extra.rstrip(),
            "persistence true",
            f"persistence_location {self.folder}/",
            "autosave_interval 1",
            f"autosave_on_changes {str(self.saves_at_once).lower()}",
            "user root",
            "log_type none",
            "max_queued_messages 0",
            "max_inflight_messages 0",
        ]
        (self.folder / "mosquitto.conf").write_text("\n".join([*lines, ""]), encoding="utf-8")
        self.process = subprocess.Popen(["/usr/sbin/mosquitto", "-c", self.folder / "mosquitto.conf"])
        deadline_s = time.monotonic() + 60
        while not self._answers():
            assert self.process.poll() is None, "mosquitto ended"
            assert time.monotonic() < deadline_s
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it in order: what it acknowledged is on its disk."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running_broker(
    folder: Path, extra: str = "allow_anonymous true\n", *, saves_at_once: bool = True
) -> Iterator[Broker]:
    """Yield a broker that runs."""
    broker = Broker(folder, extra, saves_at_once=saves_at_once)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@dataclass(frozen=True)
class Received:
    """A message as it came; `at_s` is monotonic. `is_redelivered`: the broker gives it again, not the sender."""

    topic: str
    payload: bytes
    retain: bool
    at_s: float
    at_utc: float
    is_redelivered: bool = False

    @property
    def content(self) -> dict[str, object]:
        """Return its JSON."""
        found: dict[str, object] = json.loads(self.payload)
        return found


class Subscriber:
    """Subscribes to everything, in a session that outlives its connections and the broker."""

    def __init__(self, port: int, topic: str = "#", client_id: str = "subscriber", user: tuple[str, str] | None = None):
        self.received: list[Received] = []
        self._ready = threading.Event()
        self._topic = topic
        self._client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTv5)
        if user is not None:
            self._client.username_pw_set(*user)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._on_message
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        self._client.loop_start()
        assert self._ready.wait(60)

    def _on_connect(self, client: Client, *_: object) -> None:
        client.subscribe(self._topic, qos=1)

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.received.append(
            Received(message.topic, bytes(message.payload), message.retain, time.monotonic(), time.time(), message.dup)
        )

    def of(self, ending: str) -> list[Received]:
        """Return what came on topics that end so."""
        return [message for message in list(self.received) if message.topic.endswith(ending)]

    def wait_for(self, ending: str, count: int, limit_s: float = 90.0) -> list[Received]:
        """Return what came on such topics once there are so many with different content."""
        deadline_s = time.monotonic() + limit_s
        while len({message.content.get("id", index) for index, message in enumerate(self.of(ending))}) < count:
            assert time.monotonic() < deadline_s, f"{len(self.of(ending))} of {count} on {ending}"
            time.sleep(0.02)
        return self.of(ending)

    def publish(self, topic: str, payload: bytes | str, *, retain: bool = False, **said: str) -> None:
        """Publish a message; `said` are user properties, and `correlation` what its answer is known by."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if correlation := said.pop("correlation", ""):
            properties.CorrelationData = correlation.encode()
        if said:
            properties.UserProperty = list(said.items())
        self._client.publish(topic, payload, 1, retain, properties).wait_for_publish(60)

    def wait_connected(self, limit_s: float = 90.0) -> None:
        """Wait until the broker has it again."""
        deadline_s = time.monotonic() + limit_s
        while not self._client.is_connected():
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
        for end in (self._client._sockpairR, self._client._sockpairW):  # the library leaves them to its finalizer
            if end is not None:
                end.close()


class CutProxy:
    """Forwards a port in a thread of its own, until it is told to forward no more: then every connection is silent."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.is_cut = False
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(60)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        others: list[asyncio.StreamWriter] = [writer]
        try:
            if self.is_cut:
                await asyncio.sleep(3600)
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            others.append(back)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, back))
                group.create_task(self._pump(there, writer))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(task)
            for other in others:
                other.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.is_cut:  # what is on its way is gone: nothing comes out of this connection any more
                await asyncio.sleep(3600)
            writer.write(data)
            await writer.drain()
        raise ConnectionError

    def close(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
