# SPDX-License-Identifier: AGPL-3.0-or-later
"""A part has the lot and the recipe of its own moment, however late it is told."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.passed_parts import make_part
from tests.fakes.waiting import wait_for

from vision_line.lanes import parts_recorder
from vision_line.lanes.lane_orders import MOST_KEPT, LaneOrders, OrdersOfLane, OrdersReading, OrderSteps
from vision_line.lanes.parts_recorder import PartEntry, PartsRecorder
from vision_line.parts.orders import LOT, RECIPE, Asked, Order, ask_lot, ask_recipe, enter
from vision_line.parts.parts_file import FILE_NAME, writing
from vision_line.records.side_journal import append

ASKED = Asked("anna", "command")
UTC_AHEAD_S = 1e9


def make_order(number: int, at_s: float, value: str = "") -> Order:
    """Return an order of a lot that was entered at a moment."""
    return Order(number, LOT, "*", value or f"L-{number}", ASKED, UTC_AHEAD_S + at_s)


def make_reading(before_s: float, now_s: float, ahead_s: float = UTC_AHEAD_S) -> OrdersReading:
    return OrdersReading(before_s, now_s, ahead_s)


@pytest.mark.parametrize(
    ("at_s", "lot"),
    [
        (-5.0, "L-1"),
        (9.0, "L-1"),
        (10.4, "L-1"),
        (10.499, "L-1"),
        (10.5, "L-2"),
        (10.501, "L-2"),
        (11.0, "L-2"),
        (inf, "L-2"),
    ],
)
def test_a_part_that_crosses_just_before_a_change_belongs_to_the_old_lot(at_s: float, lot: str) -> None:
    """Another one was begun at 10.5, and is known since 10.52; what counted before has always done so."""
    steps = OrderSteps().found(make_order(1, 3.0), None).found(make_order(2, 10.5), make_reading(10.49, 10.52))
    assert OrdersOfLane(lots=steps).at(at_s) == LaneOrders(lot, None)


@pytest.mark.parametrize(("set_by_s", "began_s"), [(-3600.0, 10.52), (3600.0, 10.49), (0.01, 10.5)])
def test_who_sets_the_clock_moves_a_change_by_no_more_than_the_time_between_two_readings(
    set_by_s: float, began_s: float
) -> None:
    """Or the machine sleeps in between."""
    order, look = make_order(2, 10.51), make_reading(10.49, 10.52, UTC_AHEAD_S + set_by_s)
    steps = OrderSteps().found(make_order(1, 3.0), None).found(order, look)
    assert steps.steps[-1][0] == pytest.approx(began_s, abs=1e-6)


def test_an_order_that_is_gone_leaves_none_and_the_oldest_are_forgotten() -> None:
    steps = OrderSteps().found(make_order(1, 3.0), None).found(None, make_reading(10.0, 10.1))
    assert (steps.at(10.05), steps.at(10.2)) == ("L-1", None)
    for number in range(2, 2 * MOST_KEPT):
        steps = steps.found(make_order(number, 10.0 + number), make_reading(9.9 + number, 10.1 + number))
    assert len(steps.steps) == MOST_KEPT
    assert steps.at(-inf) == f"L-{MOST_KEPT}"


@given(
    entered=st.lists(st.integers(1, 5000), max_size=8, unique=True).map(sorted),
    steps_ms=st.lists(st.integers(1, 60), min_size=10, max_size=200),
    moments=st.lists(st.integers(0, 6000), min_size=1, max_size=20),
)
def test_each_moment_has_the_newest_order_of_before_it(
    entered: list[int], steps_ms: list[int], moments: list[int]
) -> None:
    """Looks come by irregularly; a look shows all orders since the one before."""
    found, before_ms = OrderSteps().found(None, None), 0
    for step_ms in steps_ms:
        now_ms = before_ms + step_ms
        for at_ms in (each for each in entered if found.newest < each <= now_ms):
            found = found.found(make_order(at_ms, at_ms / 1000), make_reading(before_ms / 1000, now_ms / 1000))
        before_ms = now_ms
    for at_ms in moments:
        expected = max((each for each in entered if each <= min(at_ms, before_ms)), default=None)
        assert found.at(at_ms / 1000 + 1e-5) == (None if expected is None else f"L-{expected}")


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[PartsRecorder]:
    """Watch the orders of a lane at which a lot was begun before."""
    ask_lot(tmp_path, "L-1", ASKED)
    made = PartsRecorder(tmp_path, ["a"], lambda _: None)
    yield made
    made.close()


def test_orders_that_are_entered_meanwhile_count_from_then_on(recorder: PartsRecorder, tmp_path: Path) -> None:
    began_s = time.monotonic()
    ask_lot(tmp_path, "L-2", ASKED, "a")
    ask_recipe(tmp_path, "7", ASKED)
    changed_s = time.monotonic()
    while recorder.orders("a") != LaneOrders("L-2", "7"):
        time.sleep(0.005)
    # Orders have whole milliseconds.
    assert recorder.orders("a", began_s - 0.002) == LaneOrders("L-1", None)
    assert recorder.orders("a", changed_s + 0.002) == LaneOrders("L-2", "7")
    assert recorder.orders("a", 0.0) == LaneOrders("L-1", None)
    assert recorder.orders("b") == LaneOrders()


def test_an_order_that_counted_for_less_time_than_the_file_was_busy_has_its_moments(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Somebody changes over, and back at once, between two readings: parts that passed in between are of neither."""
    monkeypatch.setattr(parts_recorder, "ORDERS_EVERY_S", 3600.0)
    recorder: PartsRecorder = request.getfixturevalue("recorder")
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        enter(other, RECIPE, "caps", ASKED, "*")
        between_s = time.monotonic() + 0.002
        time.sleep(0.01)
        enter(other, RECIPE, "", ASKED, "a")
        other.execute("COMMIT")
    recorder.follow(["a"])  # which reads
    while recorder.orders("a").recipe is None:
        time.sleep(0.005)
    assert (recorder.orders("a", between_s).recipe, recorder.orders("a").recipe) == ("caps", "")


def test_an_order_counts_from_when_it_was_entered_however_long_it_took_until_it_was_on_the_disk(
    recorder: PartsRecorder, tmp_path: Path
) -> None:
    """The recorder reads meanwhile, and does not see it."""
    recorder.put(PartEntry(make_part(1)))
    wait_for(lambda: not recorder.waiting)  # it has begun, for which nobody else may hold the file
    with closing(sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        before_s = time.monotonic() - 0.002  # orders have whole milliseconds
        enter(other, LOT, "L-2", ASKED, "a")
        enter(other, RECIPE, "caps", ASKED, "a")
        between_s = time.monotonic() + 0.002
        time.sleep(0.005)
        recorder.follow(["a", "b"])
        wait_for(lambda: recorder.orders("b").lot == "L-1")  # so it has read
        assert recorder.orders("a") == LaneOrders("L-1", None)
        other.execute("COMMIT")
    wait_for(lambda: recorder.orders("a") == LaneOrders("L-2", "caps"))
    assert recorder.orders("a", between_s) == LaneOrders("L-2", "caps")
    assert recorder.orders("a", before_s) == LaneOrders("L-1", None)


def test_a_clock_that_was_set_gives_no_part_that_is_entered_another_lot(
    recorder: PartsRecorder, tmp_path: Path
) -> None:
    """By its moment the order came an hour before the part; nobody can have entered it then."""
    passed_s = time.monotonic()
    recorder.put(PartEntry(make_part(1)))
    wait_for(lambda: not recorder.waiting)
    body = {LOT: "L-2", "by": "anna", "door": "command", "at_utc": time.time() - 3600}
    with writing(tmp_path) as connection:
        append(connection, LOT, "a", body)
    wait_for(lambda: recorder.orders("a").lot == "L-2")
    assert recorder.orders("a", passed_s).lot == "L-1"


def test_a_lane_that_is_new_has_the_order_that_was_there_before_it(recorder: PartsRecorder, tmp_path: Path) -> None:
    ask_lot(tmp_path, "L-2", ASKED, "b")
    recorder.follow(["a", "b"])
    while not recorder.orders("b").lot:
        time.sleep(0.005)
    assert recorder.orders("b", 0.0) == LaneOrders("L-2", None)
