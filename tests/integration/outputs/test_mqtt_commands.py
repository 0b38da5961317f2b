# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lots, recipes and parts that come in by a real broker, and what is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.broker import Broker, Subscriber, running_broker
from tests.integration.outputs.conftest import Line

from vision_line.parts.orders import LOT, RECIPE, Order, orders
from vision_line.parts.parts_file import reading
from vision_line.telemetry.output_status import known_outputs


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as made:
        yield made


@pytest.fixture
def plant(broker: Broker) -> Iterator[Subscriber]:
    made = Subscriber(broker.port)
    yield made
    made.close()


def door(port: int) -> str:
    return f"""[[output]]
type = "mqtt"
name = "plant"
url = "mqtt://127.0.0.1:{port}"
topic = "line"
accept_commands = true
"""


async def is_open(line: Line) -> None:
    """Wait until commands are taken: that is before the output says that it is connected."""
    for _ in range(900):
        known = known_outputs(line.directory)
        if known and known[0].state and known[0].state.state == "connected":
            return
        await asyncio.sleep(0.05)
    raise AssertionError(known)


async def answers(plant: Subscriber, command: str, count: int) -> list[dict[str, object]]:
    for _ in range(900):
        found = plant.of(f"cmd/{command}/result")
        if len(found) >= count:
            return [message.content for message in found]
        await asyncio.sleep(0.05)
    raise AssertionError(plant.received)


def asked_for(line: Line, kind: str) -> list[Order]:
    with reading(line.directory) as connection:
        return [] if connection is None else orders(connection, kind, 100)


async def test_lots_recipes_and_parts_come_in(line: Line, broker: Broker, plant: Subscriber) -> None:
    """Entered with who asks and the door; all are told of a lot; a part has the moment when its message came."""
    line.configure(door(broker.port))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/lot", '{"lot": "L-7"}', by="MES")
        plant.publish("line/cmd/recipe", '{"recipe": "fine", "lane": "lane1"}', correlation="c-1")
        began_s = time.monotonic()
        plant.publish("line/cmd/part", '{"lane": "lane1", "part_id": "P-9", "number": 5}')
        (lot,) = await answers(plant, "lot", 1)
        (recipe,) = await answers(plant, "recipe", 1)
        (part,) = await answers(plant, "part", 1)
        ended_s = time.monotonic()
        (heard,) = await asyncio.to_thread(plant.wait_for, "line/lot", 1)
    lots, recipes = asked_for(line, LOT), asked_for(line, RECIPE)
    (sent,) = line.parts

    assert {name: lot[name] for name in ("schema", "command", "accepted", "lot", "lane", "id")} == {
        "schema": "vision-line.command/1",
        "command": "lot",
        "accepted": True,
        "lot": "L-7",
        "lane": "*",
        "id": f"parts:{lots[0].number}",
    }
    assert heard.content["id"] == lot["id"]
    assert (recipe["accepted"], part["accepted"], part["sequence"]) == (True, True, 1)
    assert [(each.value, each.lane, each.asked.by, each.asked.door) for each in lots] == [("L-7", "*", "MES", "mqtt")]
    assert [(each.value, each.lane, each.asked.by) for each in recipes] == [("fine", "lane1", "plant")]
    assert (sent.lane, sent.part_id, sent.number, sent.lot) == ("lane1", "P-9", 5, None)
    assert began_s < sent.at_s < ended_s


async def test_what_is_no_command_is_answered_too(line: Line, broker: Broker, plant: Subscriber) -> None:
    """In words; the next one is carried out."""
    line.configure(door(broker.port))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/part", '{"lane": "lane9"}')
        plant.publish("line/cmd/part", b"\xff")
        plant.publish("line/cmd/part", '{"lane": "lane1"}')
        found = await answers(plant, "part", 3)

    assert [answer["accepted"] for answer in found] == [False, False, True]
    assert found[0]["error"] == "there is no such lane"
    assert len(line.parts) == 1


async def test_the_same_request_is_carried_out_once(line: Line, broker: Broker, plant: Subscriber) -> None:
    """A sender that got no answer asks again: QoS 1 is at least once. A broker that went between changes nothing."""
    line.configure(door(broker.port))
    async with line.serving():
        await is_open(line)
        for _ in range(2):
            plant.publish("line/cmd/part", '{"lane": "lane1", "request": "r-1"}')
        first, again = await answers(plant, "part", 2)
        broker.kill()
        broker.start()
        plant.wait_connected()
        for _ in range(900):
            if len([one for one in plant.of("status") if not one.retain and not one.is_redelivered]) > 1:
                break
            await asyncio.sleep(0.05)
        plant.received.clear()
        plant.publish("line/cmd/part", '{"lane": "lane1", "request": "r-1"}')
        plant.publish("line/cmd/part", '{"lane": "lane1", "request": "r-2"}')
        third, other = await answers(plant, "part", 2)

    assert first == again == third
    assert (first["sequence"], other["sequence"], len(line.parts)) == (1, 2, 2)


async def test_a_retained_command_is_old(line: Line, broker: Broker, plant: Subscriber) -> None:
    """It would begin its lot again at every start."""
    plant.publish("line/cmd/lot", '{"lot": "L-old"}', retain=True)
    line.configure(door(broker.port))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/lot", '{"lot": "L-new"}')
        (answer,) = await answers(plant, "lot", 1)

    assert answer["lot"] == "L-new"
    assert [each.value for each in asked_for(line, LOT)] == ["L-new"]


async def test_without_leave_nothing_is_taken(line: Line, broker: Broker, plant: Subscriber) -> None:
    line.configure(door(broker.port).replace("accept_commands = true", ""))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/lot", '{"lot": "L-7"}')
        line.event()
        await asyncio.to_thread(plant.wait_for, "cam1/event", 1)

    assert not plant.of("result")
    assert asked_for(line, LOT) == []
