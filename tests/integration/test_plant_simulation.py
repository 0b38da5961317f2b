# SPDX-License-Identifier: AGPL-3.0-or-later
"""The simulation of a plant, small: the same for a seed, and what ledgers say of a lost box is what became of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import cache

import pytest
from benchmarks.plant_simulation import BOX, P99_S, ages_between, late_until_s, loss_of
from benchmarks.plant_world import Plant, PlantWorld, PlayedPlant

from vision_line.inspection.coverage.causes import NODE_LOST

#: Four boxes, of which one is lost when all cameras are inspected.
PLANT = Plant(BOX, cameras=24, boxes=4, lost=1, lost_s=8.0, until_s=20.0, seed=7)
#: The ledger counts from the last heartbeat, and until a part that comes gets all of its inspections: never less than
#: what was, and at most so much more.
CAUTION_S = 0.75 + 0.6


@cache
def played(plant: Plant = PLANT) -> PlayedPlant:
    """Return what the plant shows."""
    return PlantWorld(plant).play()


def test_a_seed_gives_the_same_plant() -> None:
    """Though each box has a thread of its own."""
    assert asdict(PlantWorld(PLANT).play()) == asdict(played())


def test_cameras_of_a_lost_box_are_inspected_elsewhere() -> None:
    """All of them, within ten seconds, and no other camera moves or misses anything."""
    plant = played()
    loss = loss_of(plant)

    assert len(plant.lost) == PLANT.cameras // PLANT.boxes
    assert plant.inspected == PLANT.cameras
    assert loss.last_back_s <= 10.0
    assert (plant.moved, loss.others_s) == (0, 0.0)


def test_the_ledgers_say_how_long_it_took() -> None:
    """Within 5 %, from the last heartbeat until another box had the camera; in all a little more than it was."""
    loss = loss_of(played())

    assert loss.ledger_lost_s == pytest.approx(loss.expected_lost_s, rel=0.05)
    assert 0.0 <= loss.ledger_whole_s - loss.true_whole_s <= CAUTION_S * len(played().lost)
    assert {interval.cause for interval in played().intervals if interval.camera == played().lost[0].name} >= {
        NODE_LOST
    }


def test_results_are_in_time_before_and_after() -> None:
    """Five a second of each camera; boxes that are far from full are never late."""
    before, after = ages_between(played(), 5.0, 8.0), ages_between(played(), 17.0, 20.0)

    assert max(before.worst_s, after.worst_s) < P99_S
    assert late_until_s(played()) == 0.0
    for one in (before, after):
        assert one.per_second == pytest.approx(5.0 * PLANT.cameras, rel=0.02)


def test_without_a_loss_nothing_is_lost() -> None:
    """The same plant, left alone."""
    quiet = played(replace(PLANT, cameras=8, lost=0, until_s=8.0))

    assert quiet.lost == ()
    assert quiet.inspected == quiet.plant.cameras
    assert not [one for one in quiet.intervals if one.cause == NODE_LOST]
