# SPDX-License-Identifier: AGPL-3.0-or-later
"""Try an output once, beside the process that serves it: a message goes out, and comes back where that can be."""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import suppress
from pathlib import Path

from vision_line.config.output_settings import AnyOutput, MqttOutput, WebhookOutput
from vision_line.outputs.message_sink import SinkError, SinkTrouble
from vision_line.outputs.notification import Notification

#: Below an MQTT output's topic; nothing is retained there.
TOPIC = "probe"


async def probe_output(settings: AnyOutput, directory: Path) -> None:
    """Send a message, and read it back from a broker; read a value of a server that is to run, or try its port.

    Raises:
        SinkError: it is not reached, refuses, or gives nothing back.
    """
    said = Notification(f"probe:{secrets.token_hex(8)}", 0, "probe", time.time(), {})
    if settings.type == "mqtt":
        await _probe_broker(settings, directory, said)
    elif settings.type == "opcua":
        from vision_line.outputs.opcua.opcua_probe import probe_server

        await probe_server(settings, directory)
    else:
        await _probe_server(settings, said)


async def _probe_broker(settings: MqttOutput, directory: Path, said: Notification) -> None:
    import aiomqtt

    from vision_line.outputs.mqtt_client import mqtt_client_id, open_client

    # An id of its own: that of the output would end the connection of the process that serves it.
    client = await open_client(settings, mqtt_client_id(directory, f"{settings.name}\nprobe"))
    topic, sent = f"{settings.topic}/{TOPIC}", said.as_json(time.time())
    try:
        async with asyncio.timeout(settings.timeout_s):
            await client.subscribe(topic, qos=1)
            await client.publish(topic, sent, 1)
            if client.refusal is not None:
                raise SinkError(SinkTrouble.AUTH_FAILED, f"the broker refuses messages on {topic}: {client.refusal}")
            async for message in client.messages:
                if message.payload == sent:
                    return
    except TimeoutError as exc:
        raise SinkError(SinkTrouble.TIMEOUT, f"the test message did not come back on {topic}") from exc
    except aiomqtt.MqttError as exc:
        raise SinkError(SinkTrouble.LOST, str(exc)) from exc
    finally:
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)


async def _probe_server(settings: WebhookOutput, said: Notification) -> None:
    from vision_line.outputs.webhook_sink import WebhookSink

    sink = WebhookSink(settings)
    try:
        await sink.connect()
        await sink.send([said])
    finally:
        await sink.close()
