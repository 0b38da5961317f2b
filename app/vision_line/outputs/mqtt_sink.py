# SPDX-License-Identifier: AGPL-3.0-or-later
"""Messages for an MQTT broker: QoS 1, every acknowledgement awaited; states retained, a last will.

The guarantee is the cursor's: nothing is left to the client's own store.
"""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress

import aiomqtt

from vision_line import __version__
from vision_line.config.output_settings import MqttOutput
from vision_line.outputs.message_sink import TURN_S, ShownState, SinkError, SinkTrouble
from vision_line.outputs.mqtt_client import IN_FLIGHT, MqttClient, lost_error, open_client, until_lost
from vision_line.outputs.mqtt_commands import MqttCommands
from vision_line.outputs.mqtt_topics import MqttTopics, Publication, status_payload
from vision_line.outputs.notification import Notification
from vision_line.parts.line_commands import LineCommands
from vision_line.task_ending import end_tasks

#: How long a farewell may take.
_CLOSE_S = 2.0
#: A task that goes on although it was cancelled is cancelled again after this: long before the delivery is itself,
#: which would leave it behind. None of them has anything to say at its end.
_AGAIN_S = 1.0
_QOS = 1


class MqttSink:
    """One connection to a broker."""

    window = IN_FLIGHT
    connects = True
    turn_s = TURN_S

    def __init__(self, settings: MqttOutput, client_id: str, commands: LineCommands | None = None) -> None:
        """`commands` carries out what others ask, None: nothing is asked."""
        self._commands = None if commands is None else MqttCommands(commands, settings.topic, settings.name)
        self._serving: asyncio.Task[None] | None = None
        self._settings = settings
        self._client_id = client_id
        self._topics = MqttTopics()
        self._client: MqttClient | None = None
        self._lost: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect, and say `online`.

        Raises:
            SinkError: it cannot.
        """
        will = _status("offline", "connection lost")
        last_will = aiomqtt.Will(self._full(will.topic), will.payload, _QOS, retain=True)
        self._client = await open_client(self._settings, self._client_id, last_will)
        take = None if self._commands is None else self._commands.take
        self._lost = asyncio.create_task(until_lost(self._client, take), name=f"mqtt {self._settings.name}")
        if self._commands is not None:
            await self._while_connected(self._commands.subscribe(self._client))
            serving = self._commands.serve(self._client)
            self._serving = asyncio.create_task(serving, name=f"mqtt commands {self._settings.name}")
        await self._publish([_status("online")])

    async def send(self, messages: Sequence[Notification]) -> None:
        """Publish `messages`.

        Raises:
            SinkError: not all are acknowledged.
        """
        sent_utc = time.time()
        await self._publish([made for said in messages for made in self._topics.of(said, sent_utc)])

    async def show(self, state: ShownState) -> None:
        """Publish what is retained: a broker may have lost it.

        Raises:
            SinkError: not all is acknowledged.
        """
        made = list(self._topics.of_state(state, self._settings, time.time()))
        for start in range(0, len(made), IN_FLIGHT):
            await self._publish(made[start : start + IN_FLIGHT])

    def check(self) -> None:
        """Find out whether the connection is still there.

        Raises:
            SinkError: it is not.
        """
        if self._serving is not None and self._serving.done():
            self._serving.result()  # it ends by a fault of ours alone
        if self._lost is not None and self._lost.done():
            raise lost_error(self._lost)

    async def close(self) -> None:
        """Say `offline` and disconnect; a broken connection is left, and the last will says it."""
        if self._client is None or self._lost is None:
            return
        client, self._client = self._client, None
        with suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                if not self._lost.done():
                    await client.publish_all([self._addressed(_status("offline", "stopped"))])
        ended = [task for task in (self._lost, self._serving) if task is not None]
        await end_tasks(*ended, again_s=_AGAIN_S)
        with suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await client.__aexit__(None, None, None)

    def _full(self, topic: str) -> str:
        return f"{self._settings.topic}/{topic}"

    async def _publish(self, made: Sequence[Publication]) -> None:
        """Publish all of it, and wait for every acknowledgement.

        Raises:
            SinkError: one did not come, or says no.
        """
        if self._client is None:
            raise SinkError(SinkTrouble.LOST, "not connected")
        client = self._client
        try:
            await self._while_connected(client.publish_all(list(map(self._addressed, made))))
        except SinkError:
            if client.refusal is None:  # some brokers refuse a message, and then the connection too
                raise
        if client.refusal is not None:
            raise SinkError(SinkTrouble.AUTH_FAILED, f"the broker refuses messages: {client.refusal}")

    def _addressed(self, made: Publication) -> tuple[str, bytes, bool]:
        return self._full(made.topic), made.payload, made.retain

    async def _while_connected(self, work: Coroutine[None, None, None]) -> None:
        """Do `work`, which for a connection that has ended would wait.

        Raises:
            SinkError: the connection ended, or an acknowledgement did not come in time.
        """
        assert self._lost is not None  # noqa: S101  connected
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.check()
            task.result()
        except aiomqtt.MqttError as exc:
            self.check()
            raise SinkError(SinkTrouble.TIMEOUT, f"no acknowledgement from the broker: {exc}") from exc
        finally:
            if not task.done():
                await end_tasks(task, again_s=_AGAIN_S)


def _status(state: str, reason: str = "") -> Publication:
    payload = status_payload(state, platform.node(), __version__, time.time(), reason)
    return Publication("status", payload, retain=True)
