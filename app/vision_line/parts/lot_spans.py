# SPDX-License-Identifier: AGPL-3.0-or-later
"""From when to when a lot was made, and at which lanes: from its order to the next that concerns the same lane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from vision_line.parts.orders import EVERYWHERE
from vision_line.records.records import Records


@dataclass(frozen=True, slots=True)
class LotOrder:
    """A lot, "" none, that a lane or everything is at from a moment on."""

    number: int
    lane: str
    lot: str
    begun_utc: float


@dataclass(frozen=True, slots=True)
class LotSpan:
    """A time in which a lot was made at a lane; `EVERYWHERE`: at every lane that had no lot of its own.

    `until_utc` is None while it lasts.
    """

    lot: str
    lane: str
    since_utc: float
    until_utc: float | None


def read_lot_orders(connection: Records) -> list[LotOrder]:
    """Return all orders of lots, the oldest first.

    Raises:
        Error: the database's, as it comes.
    """
    rows = connection.execute("SELECT number, lane, lot, begun_utc FROM lots ORDER BY number")
    return [LotOrder(*row) for row in rows]


def lot_spans(orders: Sequence[LotOrder]) -> list[LotSpan]:
    """Return the time of each lot by lane, in the order of their beginnings. Pure.

    What was ordered everywhere counts for a lane until it gets an order of its own, and the other way round.
    """
    lanes = sorted({order.lane for order in orders} | {EVERYWHERE})
    spans = {span for lane in lanes for span in _of_lane(orders, lane)}
    return sorted(spans, key=lambda span: (span.since_utc, span.lane, span.lot))


def distinct(spans: Sequence[LotSpan]) -> list[LotSpan]:
    """Return spans without those of a lane that say no more than the one of everywhere. Pure."""
    everywhere = {(span.lot, span.since_utc, span.until_utc) for span in spans if span.lane == EVERYWHERE}
    return [
        span
        for span in spans
        if span.lane == EVERYWHERE or (span.lot, span.since_utc, span.until_utc) not in everywhere
    ]


def _of_lane(orders: Iterable[LotOrder], lane: str) -> Iterator[LotSpan]:
    own = [order for order in orders if order.lane in {lane, EVERYWHERE}]
    ends = [*(order.begun_utc for order in own[1:]), None]
    for order, end_utc in zip(own, ends, strict=False):  # without an order there is one end more
        # The clock may have been set back between two orders: then the first had no time.
        if order.lot and (end_utc is None or end_utc > order.begun_utc):
            yield LotSpan(order.lot, lane, order.begun_utc, end_utc)
