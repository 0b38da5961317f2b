# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the line says of itself stops acceptance."""

from __future__ import annotations

from typing import Any

import pytest

from vision_line.config.models import StreamSettings
from vision_line.lanes.lane_plan import camera_need
from vision_line.lanes.line_condition import SILENT_S, LineCondition
from vision_line.parts.part import PartCause


def snapshot(**of_camera: Any) -> dict[str, Any]:
    camera = {"name": "cam01", "not_accepted": "", "not_inspected": None}
    return {"log_writable": True, "log_reason": "", "cameras": [camera | of_camera]}


@pytest.mark.parametrize(
    ("header", "causes"),
    [
        (snapshot(), []),
        (snapshot() | {"log_writable": False, "log_reason": "disk full"}, [PartCause.LOG]),
        (snapshot(not_accepted="overdue"), [PartCause.CHALLENGE]),
        (snapshot(not_inspected="camera:lost"), [PartCause.CAMERA]),
        (snapshot(state="RUNNING"), []),
        (snapshot(state="DEGRADED"), [PartCause.CAMERA]),
    ],
)
def test_what_the_snapshot_says_stops_acceptance(header: dict[str, Any], causes: list[PartCause]) -> None:
    """An interval that the ledger has open is one of them: what it calls not inspected is not accepted."""
    line = LineCondition()
    line.came("run", 10.0)
    assert list(line.stops(["cam01"], 10.0, "")) == [PartCause.LINE_AWAY]  # nobody knows yet
    line.snapshot(header)
    assert list(line.stops(["cam01"], 10.0, "")) == causes
    assert not line.stops(["cam02"], 10.0, "") or causes == [PartCause.LOG]
    assert next(iter(line.stops(["cam01"], 10.1 + SILENT_S, ""))) is PartCause.LINE_AWAY


def test_a_background_without_parts_may_be_uniform() -> None:
    """Where the lane is told so; what the ledger has open stops it all the same."""
    line = LineCondition()
    line.came("run", 10.0)
    line.snapshot(snapshot(state="DEGRADED"))
    assert not line.stops(["cam01"], 10.0, "", accepts_degraded=True)
    line.snapshot(snapshot(state="DEGRADED", not_inspected="capacity"))
    assert list(line.stops(["cam01"], 10.0, "", accepts_degraded=True)) == [PartCause.CAMERA]


@pytest.mark.parametrize(
    ("state", "accepts_degraded", "expected"),
    [("RUNNING", False, False), ("DEGRADED", False, True), ("DEGRADED", True, False), ("FROZEN", True, True)],
)
def test_frames_that_show_nothing_are_known_of(state: str, *, accepts_degraded: bool, expected: bool) -> None:
    """Those of a frozen camera counted until it was found out."""
    line = LineCondition()
    line.came("run", 10.0)
    line.snapshot(snapshot(state=state))
    assert line.sees_nothing(["cam01"], accepts_degraded=accepts_degraded) is expected
    assert not line.sees_nothing(["cam02"])
    line.went("it ended")
    assert not line.sees_nothing(["cam01"])


@pytest.mark.parametrize(("asked", "needed"), [(None, 5), (2, 5), (7, 7)])
def test_a_lane_never_asks_for_less_than_its_camera(asked: int | None, needed: int) -> None:
    assert camera_need(StreamSettings(min_hits=3, min_looks=5), asked).inspections == needed


def test_a_run_that_is_asked_for_other_cameras_goes_on_as_it_was() -> None:
    line = LineCondition()
    line.came("r1", 1.0)
    line.snapshot(snapshot())
    assert line.dropped({"results": 3})
    line.came("r1", 1.1)
    assert not line.stops(["cam01"], 1.1, "")
    assert not line.dropped({"results": 3})


def test_another_run_has_to_say_how_it_is() -> None:
    line = LineCondition()
    line.came("r1", 1.0)
    line.snapshot(snapshot())
    line.went("it ended")
    line.came("r2", 1.1)
    assert list(line.stops(["cam01"], 1.1, "")) == [PartCause.LINE_AWAY]
