# SPDX-License-Identifier: AGPL-3.0-or-later
"""The choice of a sink by an output's settings; its library is imported when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from vision_line.config.output_settings import AnyOutput
from vision_line.errors import ConfigError
from vision_line.outputs.message_sink import MessageSink
from vision_line.packages import install_extra
from vision_line.parts.line_commands import LineCommands

_LIBRARY = {"mqtt": "aiomqtt", "webhook": "httpx", "opcua": "asyncua"}


def check_installed(settings: AnyOutput) -> None:
    """Find out whether an output's library is there.

    Raises:
        ConfigError: it is not.
    """
    library = _LIBRARY[settings.type]
    if find_spec(library) is None:
        raise ConfigError(f"output {settings.name!r}: {settings.type} needs {library}: {install_extra('outputs')}")


def sink_maker(settings: AnyOutput, directory: Path, commands: LineCommands) -> Callable[[], MessageSink]:
    """Return what makes a sink for one connection; `commands` carry out what comes in by it, where it may.

    Raises:
        ConfigError: its library is not installed.
    """
    check_installed(settings)
    if settings.type == "webhook":
        from vision_line.outputs.webhook_sink import WebhookSink

        return lambda: WebhookSink(settings)
    accepted = commands if settings.accept_commands else None
    if settings.type == "mqtt":
        from vision_line.outputs.mqtt_client import mqtt_client_id
        from vision_line.outputs.mqtt_sink import MqttSink

        client_id = mqtt_client_id(directory, settings.name)
        return lambda: MqttSink(settings, client_id, accepted)
    from vision_line.outputs.opcua.opcua_sink import OpcUaSink

    return lambda: OpcUaSink(settings, directory, accepted)
