# SPDX-License-Identifier: AGPL-3.0-or-later
"""Commands that come by one connection to a broker, and their answers: `cmd/lot`, and `cmd/lot/result`.

All below `cmd` is listened to, so that a topic that is none gets an answer too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, NamedTuple

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from vision_line.outputs.message_sink import SinkError, SinkTrouble
from vision_line.outputs.mqtt_client import MqttClient
from vision_line.outputs.notification import json_bytes
from vision_line.parts.line_commands import COMMANDS, LineCommands, unknown_command
from vision_line.parts.orders import MAX_ID, Asked

if TYPE_CHECKING:
    from paho.mqtt.reasoncodes import ReasonCode

logger = logging.getLogger(__name__)

DOOR = "mqtt"
#: Commands that wait; with more the newest is not carried out, and gets no answer.
_WAITING = 100
_QOS = 1
_NOTHING_RETAINED = 2
_REFUSED = 128
_RESULT = "/result"


class _Arrived(NamedTuple):
    message: aiomqtt.Message
    at_s: float


class MqttCommands:
    """Takes commands in the order in which they come; used by one task, for one connection."""

    def __init__(self, commands: LineCommands, prefix: str, output: str) -> None:
        """`prefix` stands before each topic; `output` is who asks, where a message does not say."""
        self._commands = commands
        self._below = f"{prefix}/cmd/"
        self._output = output
        self._waiting: asyncio.Queue[_Arrived] = asyncio.Queue(_WAITING)

    async def subscribe(self, client: MqttClient) -> None:
        """Have the broker send commands from now on, and none that it kept: those are old.

        Raises:
            SinkError: it refuses.
            aiomqtt.MqttError: as it comes.
        """
        topics = [f"{self._below}{command}" for command in COMMANDS]
        if await _is_granted(client, [f"{self._below}#"]):
            return
        # A broker may have given leave for each command by itself; those that are none it then keeps to itself.
        if not await _is_granted(client, topics):
            raise SinkError(SinkTrouble.AUTH_FAILED, f"the broker refuses to subscribe to {', '.join(topics)}")

    def take(self, message: aiomqtt.Message) -> None:
        """Take a message at the moment when it comes; it does not wait."""
        topic = message.topic.value
        if topic.endswith(_RESULT) or len(topic) > len(self._below) + MAX_ID:
            return  # an answer, perhaps our own; or a topic that no answer's could be made of
        if message.retain:  # version 3.1.1 cannot ask for none
            logger.warning("a retained command on %s is not carried out: it is old", topic)
            return
        try:
            self._waiting.put_nowait(_Arrived(message, time.monotonic()))
        except asyncio.QueueFull:
            logger.warning("output %r: more than %d commands wait; one is not carried out", self._output, _WAITING)

    async def serve(self, client: MqttClient) -> None:
        """Carry out and answer, until it is cancelled."""
        while True:
            arrived = await self._waiting.get()
            topic = arrived.message.topic.value
            answer = await asyncio.to_thread(self._answer, topic.removeprefix(self._below), arrived)
            try:
                await client.publish(f"{topic}{_RESULT}", answer, _QOS, properties=_correlated(arrived.message))
            except aiomqtt.MqttError as exc:  # who asked asks again, by the same `request`
                logger.warning("output %r: an answer on %s%s was not sent: %s", self._output, topic, _RESULT, exc)

    def _answer(self, command: str, arrived: _Arrived) -> bytes:
        if command not in COMMANDS:
            return json_bytes(unknown_command(command))
        payload = arrived.message.payload
        asked = Asked(_said_by(arrived.message) or self._output, DOOR)
        content = payload if isinstance(payload, bytes) else b""
        return json_bytes(self._commands.answer(command, content, asked, arrived.at_s))


async def _is_granted(client: MqttClient, topics: list[str]) -> bool:
    """Ask the broker for topics; return whether it sends all of them."""
    options = SubscribeOptions(qos=_QOS, noLocal=True, retainHandling=_NOTHING_RETAINED)
    granted = (
        await client.subscribe([(topic, options) for topic in topics])
        if client.is_v5
        else await client.subscribe([(topic, _QOS) for topic in topics])
    )
    return all(_value(code) < _REFUSED for code in granted)


def _value(code: int | ReasonCode) -> int:
    return code if isinstance(code, int) else int(code.value)


def _said_by(message: aiomqtt.Message) -> str:
    """Return what the user property `by` says, "" without one."""
    pairs = getattr(message.properties, "UserProperty", [])
    return next((value for name, value in pairs if name == "by"), "")


def _correlated(message: aiomqtt.Message) -> Properties | None:
    """Return the properties by which whoever asked knows the answer."""
    data = getattr(message.properties, "CorrelationData", None)
    if data is None:
        return None
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    made.CorrelationData = data
    return made
