# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which node inspects which camera, on drawn plants: within capacity, sticky, complete, stable, obedient to pins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_line.fleet.placing import NO_ROOM, Placed, place
from vision_line.fleet.workload import FULL_PERCENT, NOTHING, FleetCamera, FleetNode, Workload

LABELS = ("hall-1", "hall-2", "h265")


def camera(name: str, inspections: int = 10, least: int | None = None, **more: object) -> FleetCamera:
    """Return a camera that needs that many inspections, and few pixels."""
    wanted = Workload(inspections, 10)
    return FleetCamera(name=name, wanted=wanted, least=Workload(inspections if least is None else least, 10), **more)  # type: ignore[arg-type]


def node(name: str, inspections: int = 100, **more: object) -> FleetNode:
    """Return a node that can do that many inspections."""
    return FleetNode(name=name, capacity=Workload(inspections, 10_000), **more)  # type: ignore[arg-type]


def named(*things: FleetCamera) -> dict[str, FleetCamera]:
    """Return cameras by their names."""
    return {thing.name: thing for thing in things}


def nodes_named(*things: FleetNode) -> dict[str, FleetNode]:
    """Return nodes by their names."""
    return {thing.name: thing for thing in things}


@st.composite
def plants(
    draw: st.DrawFn,
) -> tuple[dict[str, FleetNode], dict[str, FleetCamera], dict[str, str]]:
    """Draw nodes, cameras and who has which now, also nodes that are gone and cameras that are."""
    names = [f"n{number}" for number in range(draw(st.integers(0, 5)))]
    labels = st.frozensets(st.sampled_from(LABELS), max_size=2)
    camera_names = [f"c{number:02d}" for number in range(draw(st.integers(0, 14)))]
    why = st.sampled_from(["has no secret {A} for it", "goes on with plant 1"])
    refused = st.dictionaries(st.sampled_from(camera_names), why, max_size=2) if camera_names else st.just({})
    nodes = {
        name: FleetNode(
            name=name,
            capacity=Workload(draw(st.integers(0, 80)), draw(st.integers(0, 80))),
            labels=draw(labels),
            refuses=draw(refused),
            is_draining=draw(st.sampled_from([False, False, False, True])),
            is_full=draw(st.sampled_from([False, False, False, True])),
        )
        for name in names
    }
    cameras = {}
    for name in camera_names:
        inspections = draw(st.integers(1, 20))
        pixels = draw(st.integers(0, 20))
        cameras[name] = FleetCamera(
            name=name,
            wanted=Workload(inspections, pixels),
            least=Workload(draw(st.integers(1, inspections)), pixels),
            priority=draw(st.integers(0, 2)),
            reachable_from=draw(st.one_of(st.just(frozenset[str]()), labels)),
            pin=draw(st.sampled_from(["", "", "", *names, "gone"])),
        )
    current = draw(
        st.dictionaries(st.sampled_from([*camera_names, "old"]), st.sampled_from([*names, "gone"]), max_size=15)
    )
    return nodes, cameras, current


PLANTS = plants()
Plant = tuple[dict[str, FleetNode], dict[str, FleetCamera], dict[str, str]]


@settings(max_examples=100)
@given(PLANTS)
def test_a_plan_keeps_its_promises(plant: Plant) -> None:
    """Of every plant: capacity, pins and labels; all that is placeable is placed, and plan(plan) = plan."""
    nodes, cameras, current = plant
    placed = place(nodes, cameras, current)

    check_capacity(placed, nodes, cameras, current)
    check_obstacles(placed, nodes, cameras)
    check_left_out(placed, nodes, cameras)
    assert place(nodes, cameras, placed.nodes) == placed


def check_capacity(
    placed: Placed, nodes: Mapping[str, FleetNode], cameras: Mapping[str, FleetCamera], current: Mapping[str, str]
) -> None:
    """No node has more than it can do at its rate; a node to which one came is at most at 90 % at the least rate."""
    for name, one in nodes.items():
        here = [camera for camera, at in placed.nodes.items() if at == name]
        rates = [cameras[camera].least if name in placed.reduced else cameras[camera].wanted for camera in here]
        assert total(rates).fits(one.capacity)
        if any(current.get(camera) != name for camera in here):
            assert total([cameras[camera].least for camera in here]).fits(one.capacity, FULL_PERCENT)
            assert not one.is_draining
        if one.is_full:
            assert all(current.get(camera) == name or cameras[camera].pin for camera in here)


def check_obstacles(placed: Placed, nodes: Mapping[str, FleetNode], cameras: Mapping[str, FleetCamera]) -> None:
    """Pins, labels and secrets hold wherever a camera was before."""
    for name, at in placed.nodes.items():
        one = cameras[name]
        assert one.pin in {"", at}
        assert not one.reachable_from or one.reachable_from & {*nodes[at].labels, at}
        assert name not in nodes[at].refuses


def check_left_out(placed: Placed, nodes: Mapping[str, FleetNode], cameras: Mapping[str, FleetCamera]) -> None:
    """A camera is placed or left out; what is left out for room has none, also in place of what counts less."""
    assert placed.nodes.keys() | placed.left_out.keys() == cameras.keys()
    assert not placed.nodes.keys() & placed.left_out.keys()

    def rank(name: str) -> tuple[bool, int]:
        return bool(cameras[name].pin), cameras[name].priority

    for name in (name for name, why in placed.left_out.items() if why == NO_ROOM):
        one = cameras[name]
        for at in (at for at in nodes.values() if at.takes(one, None)):
            above = [other for other, where in placed.nodes.items() if where == at.name and rank(other) >= rank(name)]
            kept = total([cameras[other].least for other in above])
            assert not kept.plus(one.least).fits(at.capacity, FULL_PERCENT)


def total(demands: list[Workload]) -> Workload:
    """Return all of them together."""
    return reduce(Workload.plus, demands, NOTHING)


@settings(max_examples=50)
@given(PLANTS)
def test_nothing_moves_without_need(plant: Plant) -> None:
    """Where all may stay and what has no node has room beside them, everything stays, also at a node that is full."""
    nodes, cameras, current = plant
    here = {name: at for name, at in current.items() if name in cameras and at in nodes}
    roomy = {name: replace(one, capacity=Workload(1000, 1000), is_draining=False) for name, one in nodes.items()}
    placed = place(roomy, cameras, here)
    may_stay = {name: at for name, at in here.items() if not roomy[at].obstacle(cameras[name])}

    assert {name: placed.nodes[name] for name in may_stay} == may_stay
    assert not placed.reduced


@settings(max_examples=50)
@given(PLANTS)
def test_the_loss_of_a_node_moves_only_its_own_cameras(plant: Plant) -> None:
    """As long as the others have room for them."""
    nodes, cameras, _ = plant
    with_room = {"capacity": Workload(1000, 1000), "is_draining": False, "is_full": False}
    roomy = {name: replace(one, **with_room) for name, one in nodes.items()}  # type: ignore[arg-type]
    before = place(roomy, cameras, {}).nodes
    for dead in roomy:
        left = {name: one for name, one in roomy.items() if name != dead}
        after = place(left, cameras, before).nodes
        assert {name: after[name] for name, at in before.items() if at != dead} == {
            name: at for name, at in before.items() if at != dead
        }
        assert all(
            name in after
            for name, at in before.items()
            if at == dead and any(not one.obstacle(cameras[name]) for one in left.values())
        )


def test_cameras_of_a_lost_node_are_spread() -> None:
    """So that no switch and no node has to open all of them."""
    cameras = named(*(camera(f"c{number}") for number in range(6)))
    current = dict.fromkeys(cameras, "a")
    placed = place(nodes_named(node("b"), node("c"), node("d")), cameras, current)

    assert sorted(placed.nodes.values()) == ["b", "b", "c", "c", "d", "d"]


def test_others_make_room_for_a_camera_with_one_choice() -> None:
    """The camera that can go elsewhere goes."""
    cameras = named(camera("any", 60), camera("bound", 60, reachable_from=frozenset({"hall-1"})))
    nodes = nodes_named(node("a", labels=frozenset({"hall-1"})), node("b"))

    assert place(nodes, cameras, {"any": "a"}).nodes == {"any": "b", "bound": "a"}


def test_a_node_by_its_name_is_a_label() -> None:
    """For a camera on one box's own cable that is not pinned."""
    cameras = named(camera("c", reachable_from=frozenset({"b"})))

    assert place(nodes_named(node("a"), node("b")), cameras, {}).nodes == {"c": "b"}


def test_too_little_capacity_lowers_rates_before_it_drops_cameras() -> None:
    """On the node that needs it."""
    cameras = named(*(camera(f"c{number}", 40, least=20) for number in range(4)), camera("pinned", 5, pin="b"))
    placed = place(nodes_named(node("a", 100), node("b", 6)), cameras, {})

    assert len(placed.nodes) == 5
    assert placed.reduced == {"a"}
    assert not placed.left_out


def test_then_the_lowest_priority_is_dropped() -> None:
    """Also one that was inspected, for one that was not."""
    cameras = named(camera("low", 50), camera("mid", 40, priority=1), camera("high", 45, priority=2))
    placed = place(nodes_named(node("a")), cameras, {"low": "a", "mid": "a"})

    assert placed.nodes == {"mid": "a", "high": "a"}
    assert placed.left_out == {"low": NO_ROOM}


def test_rates_rise_again_when_a_node_comes() -> None:
    """Then some cameras move to it, and no others."""
    cameras = named(*(camera(f"c{number}", 40, least=20) for number in range(4)))
    tight = place(nodes_named(node("a")), cameras, {})
    placed = place(nodes_named(node("a"), node("b")), cameras, tight.nodes)

    assert tight.reduced == {"a"}
    assert not placed.reduced
    assert sorted(placed.nodes.values()) == ["a", "a", "b", "b"]


def test_a_node_that_drains_gives_its_cameras_away() -> None:
    """But for the pinned one, and for what finds no place."""
    cameras = named(camera("c1", 50), camera("c2", 50), camera("pinned", pin="a"))
    current = dict.fromkeys(cameras, "a")
    placed = place(nodes_named(node("a", 200, is_draining=True), node("b", 60)), cameras, current)

    assert sorted(placed.nodes.values()) == ["a", "a", "b"]
    assert placed.nodes["pinned"] == "a"


@pytest.mark.parametrize(
    ("nodes", "one", "why"),
    [
        ([], camera("c"), "no node is there"),
        ([node("a", is_draining=True)], camera("c"), "all nodes are draining"),
        ([node("a")], camera("c", pin="b"), "pinned to b, which is away"),
        ([node("a"), node("b", is_draining=True)], camera("c", pin="b"), "b is draining"),
        (
            [node("a")],
            camera("c", reachable_from=frozenset({"x"})),
            "a: not reachable: none of the labels x",
        ),
        (
            [node("a", refuses={"c": "has no secret {A} for it"}), node("b", refuses={"c": "goes on with plant 1"})],
            camera("c"),
            "b: goes on with plant 1; a: has no secret {A} for it",
        ),
        (
            [node(name, refuses={"c": "has no secret {A} for it"}) for name in "edcba"],
            camera("c"),
            "a, b, c and 2 more: has no secret {A} for it",
        ),
        ([node("a", 10)], camera("c", 20), NO_ROOM),
    ],
)
def test_it_says_why_a_camera_has_no_node(nodes: list[FleetNode], one: FleetCamera, why: str) -> None:
    """In words for an operator, and `capacity` where it is that."""
    assert place(nodes_named(*nodes), named(one), {}).left_out == {"c": why}


def test_a_full_node_keeps_what_it_has_and_takes_only_what_can_be_nowhere_else() -> None:
    """However much room its capacity leaves."""
    nodes = nodes_named(node("a", 1000, is_full=True), node("b", 22))
    cameras = named(camera("has"), camera("new"), camera("late"), camera("wired", pin="a"))
    placed = place(nodes, cameras, {"has": "a"})

    assert placed.nodes == {"has": "a", "wired": "a", "late": "b"}
    assert placed.left_out == {"new": NO_ROOM}
    assert not placed.reduced
