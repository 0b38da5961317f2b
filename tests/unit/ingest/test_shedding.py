# SPDX-License-Identifier: AGPL-3.0-or-later
"""Shares of decoding are fair, never starve a camera, and follow the room, which is learned with hysteresis."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.ingest.shedding import LEAST_FPS, PATIENCE_S, SETTLE_S, DecodeRoom, Demand, plan_shares

demand_lists = st.lists(
    st.builds(
        Demand,
        camera=st.uuids().map(str),
        fps=st.floats(1, 60),
        key_fps=st.floats(0.1, 1),
        cost_s=st.floats(0.0005, 0.03),
        inspect_fps=st.one_of(st.none(), st.floats(0.1, 30)),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda demand: demand.camera,
)
rooms = st.floats(0, 1, exclude_max=True)


def granted_s(demand: Demand, share: float) -> float:
    return share * demand.fps * demand.cost_s


@given(demand_lists, rooms)
def test_the_room_is_kept_and_nobody_starves(demands: list[Demand], room: float) -> None:
    """All shares together take no more than there is, but that every camera keeps a keyframe a second if it has one."""
    shares = plan_shares(demands, room)
    least_s = sum(demand.least_fps * demand.cost_s for demand in demands)
    total_s = sum(demand.fps * demand.cost_s for demand in demands)
    assert sum(granted_s(demand, shares[demand.camera]) for demand in demands) <= max(room * total_s, least_s) + 1e-9
    for demand in demands:
        assert 0 < shares[demand.camera] <= 1
        assert shares[demand.camera] * demand.fps >= min(demand.key_fps, LEAST_FPS, demand.enough_fps) - 1e-6


@given(demand_lists, rooms)
def test_nobody_gets_less_than_another_who_has_use_for_more(demands: list[Demand], room: float) -> None:
    """Who has less decoding time than another has all that it has use for, or the other only its keyframes."""
    shares = plan_shares(demands, room)
    most_s = max(granted_s(demand, shares[demand.camera]) for demand in demands)
    for demand in demands:
        own_s = granted_s(demand, shares[demand.camera])
        richest = [d for d in demands if granted_s(d, shares[d.camera]) > own_s + 1e-6]
        satisfied = own_s >= demand.enough_fps * demand.cost_s - 1e-6
        assert satisfied or all(shares[d.camera] * d.fps <= d.least_fps + 1e-6 for d in richest), most_s


@given(demand_lists, rooms, rooms)
def test_more_room_takes_nothing_from_anybody(demands: list[Demand], one: float, other: float) -> None:
    """Shares only rise with the room, up to everything."""
    less, more = plan_shares(demands, min(one, other)), plan_shares(demands, max(one, other))
    assert all(more[demand.camera] >= less[demand.camera] - 1e-6 for demand in demands)
    assert set(plan_shares(demands, 1.0).values()) == {1.0}


def test_first_those_whose_keyframes_are_enough() -> None:
    """A camera that is inspected once a second, with a keyframe a second, gives way before the others."""
    capped = Demand("capped", 25, 1, 0.004, inspect_fps=1)
    others = [Demand(f"cam{n}", 25, 1, 0.004) for n in range(3)]
    shares = plan_shares([capped, *others], 0.8)
    assert shares == {"capped": pytest.approx(1 / 25), "cam0": 1.0, "cam1": 1.0, "cam2": 1.0}
    tighter = plan_shares([capped, *others], 0.4)
    assert tighter["capped"] == pytest.approx(1 / 25)
    assert [tighter[d.camera] for d in others] == [pytest.approx((0.4 * 4 - 1 / 25) / 3)] * 3


def test_room_is_cut_at_once_and_raised_slowly_and_more_slowly_where_that_failed() -> None:
    """No swinging: a box with room for 60 % is overloaded for a small part of the time."""
    room, strained_s, changes = DecodeRoom(), 0.0, 0
    for second in range(1800):
        is_strained = room.room > 0.6
        strained_s += is_strained
        changes += room.update(float(second), min(room.room, 0.6), is_strained=is_strained)
    assert strained_s < 120
    assert changes < 40
    assert room.room > 0.4


def test_room_returns_when_the_strain_is_over() -> None:
    """After a minute or so everything is decoded again."""
    room = DecodeRoom()
    assert room.update(0.0, 0.5, is_strained=True)
    assert not room.update(SETTLE_S / 2, 0.3, is_strained=True)
    seconds = 0
    while room.room < 1.0:
        seconds += 1
        room.update(float(seconds), room.room, is_strained=False)
    assert PATIENCE_S <= seconds <= 8 * PATIENCE_S
