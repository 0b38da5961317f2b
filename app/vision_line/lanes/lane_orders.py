# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which lot and which recipe was in force at a lane at a moment. Pure; moments are of the monotonic clock.

A part may be told seconds after it passed, and somebody may have begun another lot meanwhile: it belongs to the one of
its own moment.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from vision_line.parts.orders import Order

#: So many of each kind are kept: of a change a minute, those of the last four hours.
MOST_KEPT = 256


@dataclass(frozen=True, slots=True)
class LaneOrders:
    """What is in force at a lane: its lot, "" without one, and its recipe, None where none was ever asked for."""

    lot: str = ""
    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class OrdersReading:
    """When orders were looked for; `utc_ahead_s` is UTC less the monotonic clock.

    Every order that was entered before `before_s` was found sooner: nobody was entering one then.
    """

    before_s: float
    now_s: float
    utc_ahead_s: float

    def began_s(self, at_utc: float) -> float:
        """Return from when on an order counts that this reading found, and none before it did.

        That is when it was entered, which may be long before it was on the disk, but not outside of what can be:
        somebody may have set the clock, or the machine slept.
        """
        return min(max(at_utc - self.utc_ahead_s, self.before_s), self.now_s)


@dataclass(frozen=True, slots=True)
class OrderSteps:
    """The orders of one kind, oldest first: from when on each counts, its number, and what was asked for."""

    steps: tuple[tuple[float, int, str | None], ...] = ((-inf, 0, None),)

    @property
    def newest(self) -> int:
        """The number of the newest one, 0 without one."""
        return self.steps[-1][1]

    def found(self, order: Order | None, reading: OrdersReading | None) -> OrderSteps:
        """Return these with the newest order; without a `reading` nobody read before, and it has always counted."""
        number, value = (0, None) if order is None else (order.number, order.value)
        if reading is None:
            return OrderSteps(((-inf, number, value),))
        if number == self.newest:
            return self
        began_s = reading.now_s if order is None else reading.began_s(order.at_utc)
        return OrderSteps((*self.steps[1 - MOST_KEPT :], (began_s, number, value)))

    def at(self, at_s: float) -> str | None:
        """Return what was in force at a moment, None where nothing was asked for; of what is forgotten the oldest."""
        return next((value for began_s, _, value in reversed(self.steps) if began_s <= at_s), self.steps[0][2])

    def begun_by(self, at_s: float) -> str | None:
        """Return the newest that began by a moment, as far as that is known; None: what has always counted."""
        return next((value for began_s, _, value in reversed(self.steps) if -inf < began_s <= at_s), None)


@dataclass(frozen=True, slots=True)
class OrdersOfLane:
    """The lots and the recipes of one lane."""

    lots: OrderSteps = OrderSteps()
    recipes: OrderSteps = OrderSteps()

    def at(self, at_s: float) -> LaneOrders:
        """Return what was in force at a moment."""
        return LaneOrders(self.lots.at(at_s) or "", self.recipes.at(at_s))
