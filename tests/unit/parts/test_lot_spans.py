# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which lot was made when and where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.parts.lot_spans import LotOrder, LotSpan, lot_spans

ALL = "*"


def orders(*asked: tuple[str, str, float]) -> list[LotOrder]:
    return [LotOrder(number, *one) for number, one in enumerate(asked, 1)]


def test_a_lot_lasts_until_the_next_order_of_its_lane() -> None:
    found = lot_spans(orders((ALL, "L1", 10.0), (ALL, "L2", 20.0), (ALL, "", 30.0), (ALL, "L1", 40.0)))
    assert found == [
        LotSpan("L1", ALL, 10.0, 20.0),
        LotSpan("L2", ALL, 20.0, 30.0),
        LotSpan("L1", ALL, 40.0, None),
    ]


def test_a_lanes_own_lot_goes_before_the_one_of_all_and_ends_with_the_next_of_all() -> None:
    found = lot_spans(orders((ALL, "L1", 10.0), ("a", "A1", 20.0), (ALL, "L2", 30.0)))
    assert found == [
        LotSpan("L1", ALL, 10.0, 30.0),
        LotSpan("L1", "a", 10.0, 20.0),
        LotSpan("A1", "a", 20.0, 30.0),
        LotSpan("L2", ALL, 30.0, None),
        LotSpan("L2", "a", 30.0, None),
    ]


@pytest.mark.parametrize("second_utc", [10.0, 9.0])
def test_a_clock_that_was_set_back_gives_no_lot_a_time_before_its_beginning(second_utc: float) -> None:
    assert lot_spans(orders((ALL, "L1", 10.0), (ALL, "L2", second_utc))) == [LotSpan("L2", ALL, second_utc, None)]


@given(st.lists(st.tuples(st.sampled_from([ALL, "a", "b"]), st.sampled_from(["", "L1", "L2"])), max_size=12))
def test_at_any_moment_a_lane_has_the_lot_of_the_newest_order_that_concerns_it(asked: list[tuple[str, str]]) -> None:
    given_orders = orders(*((lane, lot, float(at)) for at, (lane, lot) in enumerate(asked)))
    spans = lot_spans(given_orders)
    for lane in {lane for lane, _ in asked} | {ALL}:
        for at in range(len(asked)):
            newest = [lot for place, lot in asked[: at + 1] if place in {lane, ALL}][-1:]
            found = [
                span.lot
                for span in spans
                if span.lane == lane and span.since_utc <= at and (span.until_utc is None or at < span.until_utc)
            ]
            assert found == [lot for lot in newest if lot]
