# SPDX-License-Identifier: AGPL-3.0-or-later
"""Since when nobody inspected a camera that a node opens: as the fleet knows it, else as its own records do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vision_line.fleet.box_capacity import BoxCapacity
from vision_line.fleet.coordination import StoreEntry
from vision_line.fleet.fleet_member import FleetMember
from vision_line.fleet.fleet_plan import Assignment, FleetPlan
from vision_line.fleet.kept_fleet import KeptFleet
from vision_line.fleet.node_report import NodeReport
from vision_line.fleet.signed_plant import new_fleet, signed_plant
from vision_line.inspection.coverage.causes import CRASHED, OFF, Absence
from vision_line.records.lives import Inheritance
from vision_line.runtime.fleet_follower import FleetFollower, FleetNodeSetup

PLANT = 'config_version = 1\n[[stream]]\nname = "cam1"\nurl = "rtsp://10.0.0.1/1"\n'
OWN = Absence(10.0, CRASHED)

KEY = Ed25519PrivateKey.generate()
FLEET = new_fleet()

Following = Callable[[Assignment], FleetFollower]


def plant_of(key: Ed25519PrivateKey, serial: int, text: str = PLANT) -> bytes:
    """Return what the store has of a plant."""
    return signed_plant(key, serial, FLEET, "anna", 1.0, text).to_bytes()


@pytest.fixture
def following(tmp_path: Path) -> Following:
    """Give what follows a plan on a box whose last run died under epoch 3."""

    def made(assignment: Assignment) -> FleetFollower:
        member = FleetMember("a", "life")
        member.obey(FleetPlan(epoch=9, cameras={"cam1": assignment}))
        setup = FleetNodeSetup(
            store=cast(Any, None),
            member=member,
            fleet="",
            capacity=BoxCapacity(inspections_per_s=1, mpixels_per_s=1),
            report=NodeReport(),
            public_key=KEY.public_key().public_bytes_raw().hex(),
            path=tmp_path / "plant.toml",
            kept=KeptFleet(tmp_path / "fleet.json"),
            environment={},
            value=plant_of(KEY, 1),
        )
        inherited = Inheritance({"cam1": OWN}, None, {"cam1": 3})

        async def nothing(_: object) -> None:
            """Bring no camera in force."""

        cameras: Any = SimpleNamespace(running=[], sizes_wh=dict)
        seen: Any = SimpleNamespace(cameras=[])
        return FleetFollower(setup, cameras, inherited, lambda: seen, lambda _: None, nothing, asked=asyncio.Event())

    return made


def test_a_box_that_had_it_all_the_time_knows_by_itself(following: Following) -> None:
    """It died and is back before the others missed it; what it was away is told once."""
    follower = following(Assignment(node="a", epoch=3))

    assert follower.absence_of("cam1", OWN) == OWN
    assert follower.absence_of("cam1", None) is None


def test_a_camera_that_was_handed_over_was_inspected_elsewhere(following: Following) -> None:
    """Its epoch is a later one, and nothing was lost."""
    assert following(Assignment(node="a", epoch=5)).absence_of("cam1", OWN) is None


def test_a_camera_that_was_lost_before_this_box_heard_of_any(following: Following) -> None:
    """Nobody says since when: at the latest since this box died."""
    assert following(Assignment(node="a", epoch=5, cause="node:lost")).absence_of("cam1", OWN) == OWN


def test_the_fleet_knows_it_better(following: Following) -> None:
    """Another box inspected it since."""
    follower = following(Assignment(node="a", epoch=5, cause="node:lost"))
    cast(Any, follower)._member._inspected_s["cam1"] = 50.0

    assert follower.absence_of("cam1", OWN) == Absence(50.0, "node:lost")


def test_this_box_inspected_it_after_all_that_the_fleet_knows_of(following: Following) -> None:
    """Another box, which had it before, died long ago and still stands in the store."""
    follower = following(Assignment(node="a", epoch=5, cause="node:lost"))
    cast(Any, follower)._member._inspected_s["cam1"] = -18000.0

    assert follower.absence_of("cam1", OWN) == OWN


async def test_a_camera_that_was_switched_off_here_was_not_inspected(following: Following) -> None:
    """Under whatever epoch this box had it up to then; when another box had it meanwhile, that one inspected it."""
    follower = following(Assignment(node="a", epoch=5))
    internals, off = cast(Any, follower), Absence(70.0, OFF)
    await internals._carry_out()
    assert follower.absence_of("cam1", OWN) is None

    internals._cameras.running.append(SimpleNamespace(stream=SimpleNamespace(name="cam1")))
    await internals._carry_out()
    assert follower.absence_of("cam1", off) == off
    internals._member.obey(FleetPlan(epoch=10, cameras={"cam1": Assignment(node="a", epoch=8)}))
    await internals._carry_out()
    assert follower.absence_of("cam1", off) == off

    internals._cameras.running.clear()
    internals._member.obey(FleetPlan(epoch=11, cameras={"cam1": Assignment(node="a", epoch=11)}))
    await internals._carry_out()
    assert follower.absence_of("cam1", off) is None


def test_a_plant_that_is_refused_is_an_alarm_until_a_good_one_comes(following: Following) -> None:
    """Also in what the box says of itself: the operator looks at the fleet, not at each box's log."""
    follower: Any = following(Assignment(node="a", epoch=3))
    follower._configure(plant_of(Ed25519PrivateKey.generate(), 2))
    said = "plant 2, applied by anna, is not signed by the operator's key, of which --key is the public half"

    assert f"plant 1 stays in force, the one in the store is not used: {said}" == follower.status().refusal
    assert follower._report().plant_refused == said

    follower._configure(plant_of(KEY, 3))

    assert follower.status().refusal == ""
    assert follower._report().plant_refused == ""


def test_a_secret_that_is_not_here_is_named(following: Following, caplog: pytest.LogCaptureFixture) -> None:
    """In the box's log, and in what it says of itself."""
    follower: Any = following(Assignment(node="a", epoch=3))
    follower._configure(plant_of(KEY, 2, PLANT.replace("//", "//u:{WORD}@")))

    assert "this box cannot inspect, because it lacks secrets: cam1 ({WORD})" in caplog.text
    assert follower._report().as_node("a").refuses == {"cam1": "has no secret {WORD} for it"}


def test_who_gives_no_sign_of_life_is_named(following: Following) -> None:
    """On every other box, though all cameras are inspected; nothing is said of others by who hears nothing."""
    follower: Any = following(Assignment(node="a", epoch=3))
    membership = follower._member.membership
    for name, revision in (("a", 1), ("b", 2), ("c", 3)):
        membership.heard(name, revision, 0.0)
    for number in range(1, 6):
        membership.heard("a", 10 + number, float(number))
        membership.heard("c", 20 + number, float(number))
    assert follower.fleet_status().words == "node a, 3 of 3 boxes"

    membership.confirm("b", 2, 5.0)
    status = follower.fleet_status()
    assert (status.words, status.alarms) == ("node a, 2 of 3 boxes", ())
    assert status.notices == ("no sign of life of b: vision-line fleet status",)

    follower._link._began_s = -100.0
    membership.tick(60.0)
    status = follower.fleet_status()
    assert (status.words, status.notices) == ("node a", ())
    assert "the fleet's store is away" in status.alarms[0]


def test_a_store_with_another_time_is_an_alarm(following: Following) -> None:
    """What was lost in a power cut is dated by it."""
    follower: Any = following(Assignment(node="a", epoch=3))
    for number in range(1, 6):
        follower._link._clock.note(StoreEntry("node.a", b"", number, 1e9 + number - 75.0), 1e9 + number)

    (alarm,) = follower.fleet_status().alarms
    assert alarm.startswith("the clock of the fleet's store is 75 s behind this box's")


async def test_a_secret_that_has_changed_is_read_when_that_is_asked_for(following: Following) -> None:
    """So is one that was missing: the box takes such cameras from then on."""
    follower: Any = following(Assignment(node="a", epoch=3))
    environment = follower._setup.environment
    follower._configure(plant_of(KEY, 2, PLANT.replace("//", "//u:{WORD}@")))
    assert follower._report().refuses == {"cam1"}

    reading = asyncio.create_task(follower._read_secrets_when_asked())
    for word in ("old", "new"):
        environment["WORD"] = word
        follower._changed.clear()
        follower._asked.set()
        async with asyncio.timeout(40):
            await follower._changed.wait()
        assert follower._report().refuses == frozenset()
        assert f"u:{word}@" in follower._plant.loaded.config.stream[0].url.get_secret_value()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
