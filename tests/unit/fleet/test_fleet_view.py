# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator sees who watches for a moment."""

from __future__ import annotations

from vision_line.fleet.coordination import StoreEntry
from vision_line.fleet.fleet_plan import Assignment, FleetPlan
from vision_line.fleet.fleet_view import FleetView
from vision_line.fleet.node_report import CameraReport, NodeReport
from vision_line.fleet.workload import FleetCamera, Workload


def view_of(*living: str, room: int = 20, plan: FleetPlan | None = None) -> FleetView:
    """Return what is seen of nodes that beat twice, and of one that does not."""
    view = FleetView()
    report = NodeReport(inspections_mhz=room, pixels_s=room).to_bytes()
    for number, name in enumerate([*living, *living], start=1):
        view.take(StoreEntry(f"node.{name}", report, number))
    view.take(StoreEntry("node.dead", report, 100))
    view.take(StoreEntry("node.dead", report, 100))  # the watch was begun anew
    view.take(StoreEntry("plan", (plan or FleetPlan()).to_bytes(), 101))
    view.take(StoreEntry("leader", b'{"node": "a", "life": "1"}', 102))
    return view


CAMERAS = {name: FleetCamera(name=name, wanted=Workload(10, 10), least=Workload(10, 10)) for name in ("c1", "c2")}


def test_who_gives_a_sign_of_life_is_there() -> None:
    """What only stands in the store is not."""
    view = view_of("a", "b")

    assert set(view.reports) == {"a", "b"}
    assert view.silent == {"dead"}
    assert view.leader == "a"


def test_the_loss_of_a_box_is_tried_out() -> None:
    """One that others have no room for is named, with what would be lost."""
    plan = FleetPlan(epoch=1, cameras={"c1": Assignment(node="a", epoch=1), "c2": Assignment(node="b", epoch=1)})

    assert view_of("a", "b", room=23, plan=plan).not_survived(CAMERAS) == {}
    assert view_of("a", "b", room=15, plan=plan).not_survived(CAMERAS) == {"a": ["c1"], "b": ["c2"]}


def test_what_cannot_be_read_is_left_out() -> None:
    """Of a newer version, or somebody else's."""
    view = view_of("a")
    view.take(StoreEntry("node.new", b"{", 200))
    view.take(StoreEntry("plan", b"[]", 201))

    assert set(view.reports) == {"a"}
    assert view.plan == FleetPlan()


def test_a_view_is_complete_once_all_who_did_not_say_good_bye_gave_a_sign() -> None:
    """A box that was switched off is not waited for, and one that died is."""
    view, report, last_word = FleetView(), NodeReport().to_bytes(), NodeReport(leaving=True).to_bytes()
    for number, (name, value) in enumerate([("a", report), ("b", report), ("off", last_word)], start=1):
        view.take(StoreEntry(f"node.{name}", value, number))
    assert not view.is_complete
    view.take(StoreEntry("node.a", report, 4))
    assert not view.is_complete
    view.take(StoreEntry("node.b", report, 5))

    assert view.is_complete
    assert view.silent == {"off"}


def test_cameras_that_nobody_inspects_now() -> None:
    """Whatever the plan says: of boxes that are away, and of those that have it open and see nothing."""
    view = FleetView()
    report = NodeReport(cameras={"c1": CameraReport(epoch=1, inspected=True), "c2": CameraReport(epoch=1)}).to_bytes()
    assert view.not_inspected(["c2", "c1"]) == ["c1", "c2"]
    for number in (1, 2):
        view.take(StoreEntry("node.a", report, number))

    assert view.not_inspected(["c2", "c1"]) == ["c2"]


def test_a_box_with_an_older_plant_has_no_other_cameras() -> None:
    """In words for who asks why, and when the loss of another box is tried out."""
    plan = FleetPlan(epoch=2, config_serial=2, cameras={"c1": Assignment(node="a"), "c2": Assignment(node="b")})
    view = view_of("a", "b", room=23, plan=plan)
    view.reports["a"] = view.reports["a"].model_copy(update={"config_serial": 2})
    old = {"config_serial": 1, "cameras": {"c2": CameraReport(epoch=1)}, "refuses": frozenset({"c1", "c3"})}
    view.reports["b"] = view.reports["b"].model_copy(update=old)

    assert view.nodes(CAMERAS)["b"].refuses == {"c1": "goes on with plant 1", "c3": "has no secret for it"}
    assert view.not_survived(CAMERAS) == {"a": ["c1"]}


def test_who_said_good_bye_is_not_only_silent() -> None:
    """Until it gives a sign of life again."""
    view, last_word = FleetView(), NodeReport(leaving=True).to_bytes()
    view.take(StoreEntry("node.off", last_word, 1))
    view.take(StoreEntry("node.a", NodeReport().to_bytes(), 2))
    assert (view.left, view.silent) == ({"off"}, {"off", "a"})
    view.take(StoreEntry("node.off", NodeReport().to_bytes(), 3))

    assert (view.left, view.silent) == (set(), {"a"})
