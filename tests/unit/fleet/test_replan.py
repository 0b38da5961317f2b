# SPDX-License-Identifier: AGPL-3.0-or-later
"""One step of the plan: who opens, who closes, in which order."""

from __future__ import annotations

from collections.abc import Mapping

from vision_line.fleet.fleet_plan import Assignment, FleetPlan
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.placing import NO_ROOM, Placed
from vision_line.fleet.replan import Circumstance, adopted_plan, next_plan
from vision_line.fleet.workload import FleetCamera, Workload


def cameras(*names: str, sessions: int = 2) -> dict[str, FleetCamera]:
    """Return cameras of one unit each."""
    one = Workload(1, 1)
    return {name: FleetCamera(name=name, wanted=one, least=one, sessions=sessions) for name in names}


def report(room: int = 10, plan_epoch: int = 0, **opened: tuple[int, bool]) -> NodeReport:
    """Return a node with room for some cameras, and those that it has open: their epochs, and whether it inspects."""
    held = {name: CameraReport(epoch=epoch, inspected=inspected) for name, (epoch, inspected) in opened.items()}
    return NodeReport(inspections_mhz=room, pixels_s=room, plan_epoch=plan_epoch, cameras=held)


def step(
    plan: FleetPlan,
    nodes: Mapping[str, str],
    reports: Mapping[str, NodeReport],
    *,
    sessions: int = 2,
    most_moves: int = 50,
    left_out: Mapping[str, str] | None = None,
) -> FleetPlan:
    """Return the next plan of all cameras that are named."""
    known = cameras(*sorted({*plan.cameras, *nodes, *(left_out or {})}), sessions=sessions)
    placed = Placed(dict(nodes), frozenset(), left_out or {})
    return next_plan(plan, placed, Circumstance(reports=reports, cameras=known, most_moves=most_moves))


def planned(**assignments: Assignment) -> FleetPlan:
    """Return a plan of epoch 5."""
    return FleetPlan(epoch=5, cameras=assignments)


def test_two_sessions_are_handed_over_once_the_heir_inspects() -> None:
    """Until then both have it open."""
    first = step(planned(c=Assignment(node="a", epoch=1)), {"c": "b"}, {"a": report(c=(1, True)), "b": report()})
    assert first.cameras == {"c": Assignment(node="a", epoch=1, heir="b", heir_epoch=6)}
    assert first.cameras["c"].epoch_for("a") == 1
    assert first.cameras["c"].epoch_for("b") == 6
    opening = {"a": report(c=(1, True)), "b": report(c=(6, False))}
    assert step(first, {"c": "b"}, opening) is first
    opened = {"a": report(c=(1, True)), "b": report(c=(6, True))}

    assert step(first, {"c": "b"}, opened).cameras == {"c": Assignment(node="b", epoch=6)}


def test_one_session_is_closed_first() -> None:
    """The heir opens it when the node, which has seen that plan, has it no more."""
    before = planned(c=Assignment(node="a", epoch=1))
    first = step(before, {"c": "b"}, {"a": report(c=(1, True)), "b": report()}, sessions=1)
    one = first.cameras["c"]
    assert (one.closing, one.epoch_for("a"), one.epoch_for("b")) == (True, None, None)
    for still in (report(plan_epoch=5), report(plan_epoch=6, c=(1, False))):
        assert step(first, {"c": "b"}, {"a": still, "b": report()}, sessions=1) is first
    last = step(first, {"c": "b"}, {"a": report(plan_epoch=6), "b": report()}, sessions=1)

    assert last.cameras == {"c": Assignment(node="b", epoch=6, cause="node:moving")}


def test_a_camera_that_is_not_inspected_is_handed_over_at_once() -> None:
    """Nothing is lost by it, and it may be the node that cannot."""
    before = planned(c=Assignment(node="a", epoch=1, heir="b", heir_epoch=4))
    after = step(before, {"c": "b"}, {"a": report(c=(1, False)), "b": report(c=(4, False))})

    assert after.cameras == {"c": Assignment(node="b", epoch=4, cause="node:moving")}


def test_a_lost_nodes_cameras_go_to_their_heirs() -> None:
    """To one that opens it already under the same epoch, to another one under a new one."""
    before = planned(
        c=Assignment(node="a", epoch=1, heir="b", heir_epoch=4), d=Assignment(node="a", epoch=1, cause="node:moving")
    )
    after = step(before, {"c": "b", "d": "b"}, {"b": report(c=(4, False))})

    assert after.cameras == {
        "c": Assignment(node="b", epoch=4, cause="node:lost"),
        "d": Assignment(node="b", epoch=6, cause="node:lost"),
    }


def test_what_nobody_can_take_stays_with_the_node_that_is_lost() -> None:
    """Under the same epoch, whoever was to have it next: if it was only cut off it goes on. Then it is as it was."""
    before = planned(
        c=Assignment(node="a", epoch=1), d=Assignment(node="a", epoch=2, heir="b", heir_epoch=4, closing=True)
    )
    waiting = step(before, {}, {"b": report()}, left_out={"c": NO_ROOM, "d": "b: pinned"})
    assert waiting.cameras == {
        "c": Assignment(node="a", epoch=1, cause="node:lost"),
        "d": Assignment(node="a", epoch=2, cause="node:lost"),
    }
    assert step(waiting, {}, {"b": report()}, left_out=waiting.left_out) is waiting

    assert step(waiting, {"c": "a", "d": "a"}, {"a": report(), "b": report()}).cameras == waiting.cameras
    assert step(waiting, {"c": "b"}, {"b": report()}).cameras["c"] == Assignment(node="b", epoch=7, cause="node:lost")


def test_a_lost_heir_changes_nothing() -> None:
    """The node goes on, under its own epoch."""
    before = planned(c=Assignment(node="a", epoch=1, heir="b", heir_epoch=4))

    assert step(before, {"c": "a"}, {"a": report()}).cameras == {"c": Assignment(node="a", epoch=1)}


def test_at_most_so_many_moves_begin() -> None:
    """The others stay as they are until the next step."""
    before = planned(**{name: Assignment(node="gone", epoch=1) for name in "cdef"})
    after = step(before, dict.fromkeys("cdef", "b"), {"b": report()}, most_moves=3)

    assert [after.cameras[name].node for name in "cdef"] == ["b", "b", "b", "gone"]


def test_nothing_opens_where_room_is_still_taken() -> None:
    """Two nodes that give each other cameras: one begins, for else both would wait for ever."""
    before = planned(c=Assignment(node="a", epoch=1), d=Assignment(node="b", epoch=1))
    reports = {"a": report(1, c=(1, True)), "b": report(1, d=(1, True))}
    after = step(before, {"c": "b", "d": "a"}, reports)

    assert [bool(one.heir) for one in after.cameras.values()] == [True, False]


def test_a_camera_without_room_is_given_up_with_its_cause() -> None:
    """And one that the configuration no longer has is simply gone."""
    before = planned(c=Assignment(node="a", epoch=1))
    after = step(before, {}, {"a": report(c=(1, True))}, left_out={"c": NO_ROOM})
    assert after.cameras == {"c": Assignment(epoch=6, cause="capacity")}
    assert after.left_out == {"c": NO_ROOM}

    empty = next_plan(before, Placed({}, frozenset(), {}), Circumstance(reports={"a": report()}, cameras={}))
    assert empty.cameras == {}


def test_what_nodes_inspect_is_adopted() -> None:
    """Of two owners the one of the later epoch; the plan is newer than any that a node obeys."""
    reports = {"a": report(plan_epoch=9, c=(3, True), d=(3, True)), "b": report(c=(7, False))}
    plan = adopted_plan(reports)

    assert plan.epoch == 9
    assert plan.cameras == {"c": Assignment(node="b", epoch=7), "d": Assignment(node="a", epoch=3)}
