# SPDX-License-Identifier: AGPL-3.0-or-later
"""docs/outputs/messages.md: each kind with all of its keys, and examples that are what the program sends."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from tests.fakes.said_messages import every_message

from vision_line.config.output_settings import OutputKind
from vision_line.outputs.cloud_events import cloud_event
from vision_line.outputs.mqtt_topics import status_payload
from vision_line.outputs.notification import Notification
from vision_line.parts.line_commands import LineCommands
from vision_line.parts.orders import Asked

PAGE = Path(__file__).parents[3] / "docs/outputs/messages.md"
FENCE = 3 * chr(96)
KINDS = {*get_args(OutputKind), "lost", "fork"}
#: Every message has these, in this order, before its own.
FIRST = ["schema", "id", "number", "time", "sent"]


def sections() -> dict[str, str]:
    """Return the page's sections by their titles; a kind's is its name in quotes of code."""
    parts = re.split(r"^#{2,3} (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def examples(section: str) -> list[dict[str, Any]]:
    """Return the JSON of a section."""
    return [
        json.loads(text) for text in re.findall(rf"^{FENCE}json\n(.*?)^{FENCE}$", section, re.DOTALL | re.MULTILINE)
    ]


def keys_of_table(section: str) -> set[str]:
    """Return what the first column of a section's table names."""
    rows = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`([^`]+)`", row)}


def kind_of(value: object) -> str:
    """Return which kind of JSON a value is."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def is_alike(example: Mapping[str, object], real: Mapping[str, object]) -> bool:
    """Whether both have the same keys in the same order, each of one kind of JSON; null may stand for any."""
    if [*example] != [*real]:
        return False
    return all(
        example[key] is None or real[key] is None or kind_of(example[key]) == kind_of(real[key]) for key in example
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Notification]]:
    """Return what the program says, by kind."""
    return every_message(tmp_path_factory.mktemp("records"))


def test_every_kind_has_its_section_and_is_really_said(said: dict[str, list[Notification]]) -> None:
    assert {title.strip("`") for title in sections() if title.startswith("`")} == KINDS
    assert said.keys() == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_example_is_what_is_sent(kind: str, said: dict[str, list[Notification]]) -> None:
    """Its keys in their order, each of its kind; the table has each of them."""
    section = sections()[f"`{kind}`"]
    shown = examples(section)
    real = [json.loads(one.as_json(time.time())) for one in said[kind]]
    assert shown
    for example in shown:
        assert example["schema"] == f"vision-line.{kind}/1"
        assert any(is_alike(example, one) for one in real), [*map(list, real)]
    own = {key for example in shown for key in example} - {*FIRST, "run"}
    assert keys_of_table(section) == own


def test_what_every_message_has_is_explained() -> None:
    assert {*FIRST, "run", "carried", "withdrawn"} == keys_of_table(sections()["What every message has"])


def test_how_the_doors_carry_them(said: dict[str, list[Notification]], tmp_path: Path) -> None:
    """The webhook's envelope, the broker's status, and the answer to a command."""
    event, online, offline, command, answer, refused = examples(sections()["By which door"])
    made = json.loads(cloud_event(said["event"][0], "/vision-line/hall-2/line-1", time.time()))
    assert is_alike(event, made | {"data": {}})
    assert is_alike(online, json.loads(status_payload("online", "host", "0.1.0", 0.0)))
    assert is_alike(offline, json.loads(status_payload("offline", "host", "0.1.0", 0.0, "the connection broke")))

    def no_lanes(_part: object) -> int:
        raise AssertionError

    commands = LineCommands(tmp_path, no_lanes)
    asked = Asked("MES", "mqtt")
    assert is_alike(answer, commands.answer("lot", json.dumps(command).encode(), asked, 0.0))
    assert is_alike(refused, commands.answer("lot", b'{"lot": 5, "request": "mes-4712"}', asked, 0.0))
