# SPDX-License-Identifier: AGPL-3.0-or-later
"""Suspiciously low: fewer events than chance allows, the alarm for a blind model, a moved lamp, a changed product.

Where few events are expected, a control chart's lower limit is 0 and never calls. The exact Poisson tail does, and the
time since the last event does so at once: with `expected` events in that inspected time, none is seen with the
probability exp(-expected).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from vision_line.quality.intervals import poisson_at_most

#: So many events must have been expected before none is suspicious: as improbable as a point below 3 sigma, 0.136 %.
EXPECTED_OF_SILENCE = 6.6


@dataclass(frozen=True, slots=True)
class EventShortage:
    """How few events came, against how many the baseline expects in the same inspected time."""

    count: int
    expected: float
    probability: float  # of so few or fewer, where nothing has changed

    @property
    def suspicious(self) -> bool:
        """Whether chance hardly does this."""
        return self.probability < exp(-EXPECTED_OF_SILENCE)


def event_shortage(count: int, rate_per_h: float, inspected_h: float) -> EventShortage:
    """Compare events with a baseline's rate; a count of 0 with the inspected time since the last event is silence."""
    if count < 0 or rate_per_h < 0 or inspected_h < 0:
        raise ValueError("counts, rates and times are not negative")
    expected = rate_per_h * inspected_h
    return EventShortage(count, expected, poisson_at_most(count, expected))


def silence_h(rate_per_h: float) -> float:
    """Return the inspected hours without an event after which silence is suspicious."""
    if rate_per_h <= 0:
        raise ValueError("where no events are expected, silence says nothing")
    return EXPECTED_OF_SILENCE / rate_per_h


def expected_false_silences(rate_per_h: float, inspected_h: float) -> float:
    """Return how often silence is called in so much inspected time where nothing has changed.

    Each event can be the last for too long: a line with 12 events an hour calls 2.7 times in a week around the clock.
    """
    return rate_per_h * inspected_h * exp(-EXPECTED_OF_SILENCE)
