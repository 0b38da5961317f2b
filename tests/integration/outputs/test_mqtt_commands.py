# SPDX-License-Identifier: AGPL-3.0-or-later
"""Lots, recipes and parts that come in by a real broker, and what is answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.fakes.broker import Broker, Subscriber, running_broker
from tests.fakes.challenge_plans import target
from tests.fakes.said_configuration import enter_configuration, named
from tests.fakes.waiting import until
from tests.integration.outputs.conftest import Line, until_state

from vision_line.challenges import measuring
from vision_line.challenges.challenge_targets import PLAN_KEY
from vision_line.challenges.doing import recent
from vision_line.config.output_load import load_outputs
from vision_line.outputs.mqtt_sink import MqttSink
from vision_line.parts.orders import LOT, RECIPE, Order, orders_after
from vision_line.parts.parts_file import reading
from vision_line.parts.recorded_recipes import IN_FORCE, REFUSED, recorded_wish
from vision_line.task_ending import AGAIN_S


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
    await until_state(line, "connected")


async def answers(plant: Subscriber, command: str, count: int) -> list[dict[str, object]]:
    await until(lambda: len(plant.of(f"cmd/{command}/result")) >= count, lambda: plant.received)
    return [message.content for message in plant.of(f"cmd/{command}/result")]


def asked_for(line: Line, kind: str) -> list[Order]:
    with reading(line.directory) as connection:
        return [] if connection is None else orders_after(connection, kind, "lane1", 0)[::-1]


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
    assert (
        found[1]["error"]
        == "the message: found no JSON, expected an object with request, lane, part_id, number, lot, recipe"
    )
    assert len(line.parts) == 1


async def test_a_topic_that_is_no_command_is_answered_with_those_that_are(
    line: Line, broker: Broker, plant: Subscriber
) -> None:
    """Also one that is deeper; no answer is answered."""
    line.configure(door(broker.port))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/lots", '{"lot": "L-7"}')
        plant.publish("line/cmd/lane1/lot", '{"lot": "L-7"}')
        plant.publish("line/cmd/" + "x" * 80, "{}")
        plant.publish("line/cmd/lot", '{"lot": "L-8"}')
        await answers(plant, "lot", 1)
        (lots,), (deeper,) = await answers(plant, "lots", 1), await answers(plant, "lane1/lot", 1)

    assert (lots["accepted"], lots["command"]) == (False, "lots")
    assert lots["error"] == "command: found 'lots', expected one of lot, recipe, part, challenge"
    assert deeper["command"] == "lane1/lot"
    assert len(plant.of("/result")) == 3
    assert [each.value for each in asked_for(line, LOT)] == ["L-8"]


async def test_the_answer_says_what_is_true_and_the_line_says_the_rest(
    line: Line, broker: Broker, plant: Subscriber
) -> None:
    """A recipe is asked for; the run takes it or refuses it, which is a message of its own with the reason."""
    enter_configuration(line.rows.connection, named(["lane1"], ["fine", "gone"]))
    line.configure(door(broker.port))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/recipe", '{"recipe": "fnie"}')
        plant.publish("line/cmd/recipe", '{"recipe": "fine"}')
        plant.publish("line/cmd/recipe", '{"recipe": "gone", "lane": "lane1"}')
        refused, fine, gone = await answers(plant, "recipe", 3)
        newest, older, *_ = asked_for(line, RECIPE)
        said = {f"{IN_FORCE}*": recorded_wish(older), f"{REFUSED}lane1": recorded_wish(newest, "no recipe gone")}
        enter_configuration(line.rows.connection, said, "recipe")
        enter_configuration(line.rows.connection, {f"{REFUSED}lane1": None}, "recipe")
        (taken,) = await asyncio.to_thread(plant.wait_for, "line/recipe_state", 1)
        (not_taken,) = await asyncio.to_thread(plant.wait_for, "lane1/recipe_state", 1)

    assert (refused["accepted"], refused["error"]) == (
        False,
        "recipe: found 'fnie', expected one of fine, gone, or \"\" for none",
    )
    assert [(each["accepted"], each["state"], each["checked"]) for each in (fine, gone)] == [(True, "asked", True)] * 2
    assert {name: taken.content[name] for name in ("schema", "lane", "recipe", "state", "reason", "wish", "door")} == {
        "schema": "vision-line.recipe_state/1",
        "lane": "*",
        "recipe": "fine",
        "state": "in_force",
        "reason": "",
        "wish": fine["id"],
        "door": "mqtt",
    }
    assert [not_taken.content[name] for name in ("state", "reason", "wish")] == [
        "refused",
        "no recipe gone",
        gone["id"],
    ]


async def test_a_challenge_is_led_through(
    line: Line, broker: Broker, plant: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part by part to its end; its result is entered without anybody's help, and the journal has who asked."""
    monkeypatch.setattr(measuring, "GIVES_UP_S", 0.2)  # the records here say nothing of it
    plan = {"sha256": "ab" * 32, "targets": [json.loads(target("cam1").model_dump_json())]}
    enter_configuration(line.rows.connection, {PLAN_KEY: plan})
    line.configure(door(broker.port).replace('name = "plant"', 'name = "plant"\nkinds = ["challenge"]'))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/challenge", '{"target": "cam9"}')
        plant.publish("line/cmd/challenge", '{"target": "cam1"}', by="MES")
        for act in ("next", "next", "next", "next", "end"):
            plant.publish("line/cmd/challenge", json.dumps({"target": "cam1", "act": act}), by="MES")
        unknown, begun, first, _, last, refused, ended = await answers(plant, "challenge", 7)
        (shown,) = await asyncio.to_thread(plant.wait_for, "line/challenge", 1)
    (entered,) = recent(line.directory, 1.0)

    assert unknown["error"] == "target: found 'cam9', expected one of cam1"
    assert (begun["state"], begun["id"]) == ("begun", f"reviews:{entered.number}")
    assert begun["passes"] == [{"part": each.part, "position": each.position} for each in entered.begun.passes]
    assert (first["part"], first["left"], last["left"]) == (entered.begun.passes[0].part, 2, 0)
    assert "had their turn: end it" in str(refused["error"])
    assert ended["state"] == "ended"
    assert entered.begun.by == "MES (mqtt)"
    assert shown.content["challenge"] == begun["id"]


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
        await until(lambda: len([one for one in plant.of("status") if not one.retain and not one.is_redelivered]) > 1)
        plant.received.clear()
        plant.publish("line/cmd/part", '{"lane": "lane1", "request": "r-1"}')
        plant.publish("line/cmd/part", '{"lane": "lane1", "request": "r-2"}')
        third, other = await answers(plant, "part", 2)

    assert first == again == third
    assert (first["sequence"], other["sequence"], len(line.parts)) == (1, 2, 2)


async def test_what_was_carried_out_is_known_also_after_the_output_changed(
    line: Line, broker: Broker, plant: Subscriber
) -> None:
    """Whoever got no answer while it was changed asks again: that is the same part."""
    line.configure(door(broker.port))
    async with line.serving():
        await is_open(line)
        plant.publish("line/cmd/part", '{"lane": "lane1", "request": "r1"}')
        await answers(plant, "part", 1)
        line.configure(door(broker.port).replace('topic = "line"', 'topic = "line/new"'))
        await asyncio.to_thread(plant.wait_for, "line/new/status", 1)  # it listens since then
        plant.publish("line/new/cmd/part", '{"lane": "lane1", "request": "r1"}')
        first, again = await answers(plant, "part", 2)

    assert again == first
    assert len(line.parts) == 1


async def test_a_goodbye_leaves_no_task_that_swallowed_its_end(line: Line, broker: Broker) -> None:
    """Python's own waiting does so up to 3.11. The sink is done before its delivery is cancelled a second time."""
    line.configure(door(broker.port))
    (settings,) = load_outputs(line.streams).outputs
    assert settings.type == "mqtt"
    sink = MqttSink(settings, "client")
    await sink.connect()

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        await asyncio.sleep(60)

    sink._serving = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    async with asyncio.timeout(AGAIN_S - 3):
        await sink.close()
    assert sink._serving.cancelled()


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
