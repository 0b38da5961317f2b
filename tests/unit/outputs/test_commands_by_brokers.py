# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which brokers may bring commands, and which of their messages are none."""

from __future__ import annotations

from pathlib import Path

import aiomqtt
import pytest
from pydantic import ValidationError

from vision_line.config.output_settings import MqttOutput
from vision_line.outputs.mqtt_commands import MqttCommands
from vision_line.parts.line_commands import LineCommands, PartAsked


def no_lanes(part: PartAsked) -> int:
    raise AssertionError(part)


def test_a_retained_command_is_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broker of version 3.1.1 sends them, whatever is asked."""
    commands = MqttCommands(LineCommands(tmp_path, no_lanes), "line", "plant")
    commands.take(aiomqtt.Message("line/cmd/lot", b"{}", 1, retain=True, mid=1, properties=None))

    assert commands._waiting.empty()
    assert "it is old" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "mqtts://{USER}:{PASSWORD}@broker.plant:8883",
        "mqtt://127.0.0.1:1883",
        "mqtt://[::1]:1883",
        "mqtt://localhost",
        "{BROKER}",
    ],
)
def test_commands_come_from_brokers_that_know_who_speaks(url: str) -> None:
    assert MqttOutput.model_validate(broker(url)).accept_commands


@pytest.mark.parametrize(
    "url",
    [
        "mqtts://broker.plant:8883",
        "mqtts://user@broker.plant",
        "mqtt://user:s3cret@broker.plant",
        "mqtt://localhost.plant",
    ],
)
def test_commands_of_anybody_are_refused(url: str) -> None:
    """The same broker may still be told everything."""
    assert MqttOutput.model_validate({**broker(url), "accept_commands": False})
    with pytest.raises(ValidationError, match="accept_commands: expected mqtts://") as refused:
        MqttOutput.model_validate(broker(url))
    assert "s3cret" not in str(refused.value)


def broker(url: str) -> dict[str, object]:
    return {"name": "plant", "type": "mqtt", "url": url, "topic": "line", "accept_commands": True}
